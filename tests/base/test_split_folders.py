"""Folders that are no classes: those that systems leave, and those that are splits."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.parquet.converter import ParquetConverter

SYSTEM = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle")
KINDS = ("folder", "zip", "tar", "zip in a folder", "tar in a folder")


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "png")
    return file.getvalue()


def pack(kind: str, files: dict[str, bytes], path: Path) -> Path:
    """Write files as a folder, or as an archive, of them or of one folder with them."""
    outer = "outer/" if kind.endswith("in a folder") else ""
    if kind == "folder":
        for name, data in files.items():
            (path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (path / "in" / name).write_bytes(data)
        return path / "in"
    if kind.startswith("zip"):
        with zipfile.ZipFile(path / "in.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(outer + name, data)
        return path / "in.zip"
    with tarfile.open(path / "in.tar", "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(outer + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path / "in.tar"


def found(reader: Any) -> Iterator[tuple[str, int]]:
    """Yield the class that a reader gives each image, and the image's value."""
    for image, label in reader:
        yield reader.classes[label], int(np.asarray(image).max())


@pytest.mark.parametrize("kind", KINDS)
def test_what_systems_leave_is_no_class(kind: str, tmp_path: Path) -> None:
    files = {"cat/1.png": png(1), "dog/2.png": png(2)}
    left = {f"{name}/cat/9.png": png(9) for name in SYSTEM} | {"cat/@eaDir/1.png": png(9), "dog/.x/2.png": png(9)}
    source = open_source(pack(kind, files | left | {"__MACOSX/cat/._1.png": b"\0\5\x16\7"}, tmp_path))
    assert source.fields["label"].names == ("cat", "dog")
    assert len(source) == 2
    assert source.labels_from == "folder names"
    assert {f"left by a system: {name}" for name in SYSTEM} <= source.ignored.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stray_picture_does_not_make_all_one_class(kind: str, tmp_path: Path) -> None:
    source = open_source(pack(kind, {"cat/1.png": png(1), "dog/2.png": png(2), "3.png": png(3)}, tmp_path))
    assert source.fields["label"].names == ("cat", "dog")
    assert source.ignored["image outside any class folder"] == 1
    assert len(source) == 2


SPLITS = {
    "train/cat/1.png": png(1),
    "train/dog/2.png": png(2),
    "val/dog/3.png": png(3),
    "__MACOSX/val/cat/4.png": png(9),
    "read me.txt": b"hello",
}


@pytest.mark.parametrize("kind", KINDS)
def test_folders_that_are_splits_are_no_classes_and_the_advice_works(kind: str, tmp_path: Path) -> None:
    data = pack(kind, SPLITS, tmp_path)
    with pytest.raises(InputError, match=r"are splits \(train, val\), not classes.*split=None") as caught:
        ParquetConverter(data, tmp_path / "out", num_workers=0)
    assert not (tmp_path / "out").exists()
    if kind == "folder":
        one = str(caught.value).split("'")[1]
        assert ParquetConverter(one, tmp_path / "one", num_workers=0).convert().num_samples == 2  # type: ignore[union-attr]
    else:
        with pytest.raises(InputError, match="are splits"):
            index_files(data)
    converter = ParquetConverter(data, tmp_path / "out", split=None, num_workers=0)
    assert converter.convert() is None
    assert {split: m.num_samples for split, m in converter.manifests.items() if m} == {"train": 2, "val": 1}
    assert list(found(open_reader(tmp_path / "out"))) == [("cat", 1), ("dog", 2)]
    assert list(found(open_reader(tmp_path / "out", split="val"))) == [("dog", 3)]
    assert open_reader(tmp_path / "out", split="val").classes == ["cat", "dog"]  # dog is 1 in both


@pytest.mark.parametrize(
    "names", [("train",), ("Train", "Test"), ("training", "validation", "testing"), ("dev", "eval")]
)
def test_other_spellings_of_splits(names: tuple[str, ...], tmp_path: Path) -> None:
    data = pack("folder", {f"{name}/cat/1.png": png(1) for name in names}, tmp_path)
    with pytest.raises(InputError, match="are splits"):
        open_source(data)
    converter = ParquetConverter(data, tmp_path / "out", split=None, num_workers=0)
    converter.convert()
    assert converter.manifests.keys() == set(names)


def test_all_splits_have_the_classes_of_all(tmp_path: Path) -> None:
    files = {"train/dog/1.png": png(1), "test/cat/2.png": png(2), "test/dog/3.png": png(3)}
    ParquetConverter(pack("folder", files, tmp_path), tmp_path / "out", split=None, num_workers=0).convert()
    assert list(found(open_reader(tmp_path / "out"))) == [("dog", 1)]
    assert list(found(open_reader(tmp_path / "out", split="test"))) == [("cat", 2), ("dog", 3)]
    assert open_reader(tmp_path / "out").classes == ["cat", "dog"]


def test_one_folder_of_another_name_makes_them_classes(tmp_path: Path) -> None:
    data = pack("folder", {"train/1.png": png(1), "bus/2.png": png(2)}, tmp_path)  # vehicles
    assert open_source(data).fields["label"].names == ("bus", "train")
    with pytest.raises(ConfigError, match="are no splits"):
        ParquetConverter(data, tmp_path / "out", split=None)


def test_several_ranks_convert_all_splits(tmp_path: Path) -> None:
    data = pack("folder", SPLITS, tmp_path)
    for rank in (0, 1):
        options = {
            "split": None,
            "num_workers": 0,
            "images_per_file": 1,
            "rank": rank,
            "num_replicas": 2,
            "wait": False,
        }
        ParquetConverter(data, tmp_path / "out", **options).convert()
    assert list(found(open_reader(tmp_path / "out"))) == [("cat", 1), ("dog", 2)]
    assert list(found(open_reader(tmp_path / "out", split="val"))) == [("dog", 3)]


def test_folders_are_told_apart_by_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounts of FUSE give every folder the same inode number."""
    import os

    data = pack("folder", {"cat/1.png": png(1), "dog/2.png": png(2)}, tmp_path)
    (data / "eel").symlink_to(data / "cat")
    real = os.stat

    class Same:
        def __init__(self, status: os.stat_result) -> None:
            self.status = status

        def __getattr__(self, name: str) -> Any:
            return 1 if name in ("st_ino", "st_dev") else getattr(self.status, name)

    monkeypatch.setattr(os, "stat", lambda *a, **k: Same(real(*a, **k)))
    source = open_source(data)
    assert len(source) == 2
    assert source.fields["label"].names == ("cat", "dog", "eel")  # a link to what is read already is empty


def test_a_named_split_of_none_is_not_a_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        ParquetConverter([(Image.new("L", (4, 4)), 1)], tmp_path / "out", split="no/name")
