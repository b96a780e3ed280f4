"""Archives that other systems made: names with back-slashes, members that are links."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import InputError
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.tar.converter import TarConverter


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "png")
    return file.getvalue()


def zipped(path: Path, names: dict[str, int], system: int) -> Path:
    with zipfile.ZipFile(path / "a.zip", "w") as archive:
        for name, value in names.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name, system
            archive.writestr(info, b"" if value < 0 else png(value))
    return path / "a.zip"


@pytest.mark.parametrize("system", [0, 10, 3])  # FAT, NTFS, and tools that call themselves Unix
def test_backslashes_are_between_folders(system: int, tmp_path: Path) -> None:
    names = {"cat\\": -1, "cat\\1.png": 1, "cat\\deep\\2.png": 2, "dog\\3.png": 3}
    path = zipped(tmp_path, names, system)
    source = open_source(path)
    assert source.fields["label"].names == ("cat", "dog")
    assert [source[i]["label"] for i in range(3)] == [0, 0, 1]
    index_files(path)
    reader = open_reader(tmp_path)
    assert [(reader.classes[y], int(np.asarray(x).max())) for x, y in reader] == [("cat", 1), ("cat", 2), ("dog", 3)]


def test_a_backslash_in_a_name_of_unix_stays(tmp_path: Path) -> None:
    source = open_source(zipped(tmp_path, {"cat/a\\b.png": 1, "dog/2.png": 2}, 3))
    assert source.name(0).endswith("cat/a\\b.png")


def test_backslashes_do_not_lead_out_of_the_archive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside of the archive"):
        open_source(zipped(tmp_path, {"..\\..\\cat\\1.png": 1}, 0))


def linked(path: Path, links: list[tuple[str, bytes, str]]) -> Path:
    with tarfile.open(path / "a.tar", "w") as archive:
        for name, value in (("cat/1.png", 1), ("dog/2.png", 2)):
            info = tarfile.TarInfo(name)
            info.size = len(png(value))
            archive.addfile(info, io.BytesIO(png(value)))
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path / "a.tar"


LINKS = [
    ("dog/1.png", tarfile.LNKTYPE, "cat/1.png"),  # hard: from the root of the archive
    ("dog/3.png", tarfile.SYMTYPE, "../cat/1.png"),  # symbolic: from where it lies
    ("dog/4.png", tarfile.SYMTYPE, "3.png"),  # to a link
]


def test_links_to_members_are_those_members(tmp_path: Path) -> None:
    path = linked(tmp_path, LINKS)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "unpacked", filter="fully_trusted")
    ours, theirs = open_source(path), open_source(tmp_path / "unpacked")
    assert len(ours) == len(theirs) == 5
    for i in range(5):
        assert ours[i]["label"] == theirs[i]["label"]
        assert ours[i]["image"].data == theirs[i]["image"].data
    TarConverter(path, tmp_path / "out", num_workers=0).convert()
    index_files(path)
    for folder in (tmp_path, tmp_path / "out"):
        found = [(label, int(np.asarray(image).max())) for image, label in open_reader(folder)]
        assert found == [(0, 1), (1, 1), (1, 2), (1, 1), (1, 1)]


@pytest.mark.parametrize(
    "links",
    [
        [("dog/a.png", tarfile.SYMTYPE, "/etc/passwd")],
        [("dog/a.png", tarfile.SYMTYPE, "../../out.png")],
        [("dog/a.png", tarfile.LNKTYPE, "cat/none.png")],
        [("dog/a.png", tarfile.SYMTYPE, "a.png")],
        [("dog/a.png", tarfile.SYMTYPE, "b.png"), ("dog/b.png", tarfile.SYMTYPE, "a.png")],
    ],
)
def test_links_to_nowhere_are_counted(links: list[tuple[str, bytes, str]], tmp_path: Path) -> None:
    source = open_source(linked(tmp_path, links))
    assert len(source) == 2
    assert source.ignored["link, device or sparse file"] == len(links)


def test_a_class_with_folders_of_its_own_stays_one_class(tmp_path: Path) -> None:
    source = open_source(zipped(tmp_path, {"cat/1.png": 1, "cat/2.png": 2, "cat/deep/3.png": 3}, 3))
    assert source.fields["label"].names == ("cat",)
    assert len(source) == 3
