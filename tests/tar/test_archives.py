"""Archives are read in place and give what the unpacked folder gives."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import InputError
from shardwright.base.open_source import open_source
from shardwright.base.split.manifest import load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.folders.source import FolderSource
from shardwright.tar.converter import TarConverter
from shardwright.tar.source import ArchiveSource


def picture(seed: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


FILES = {
    "b dog/2.png": picture(1),
    "b dog/10.JPG": picture(2, "JPEG"),
    "b dog/greg/1.png": picture(3),
    "b dog/Thumbs.db": b"no image",
    "b dog/.hidden.png": picture(4),
    "a-cat/x": picture(5),
    "a/\u00fc.png": picture(6),
    ".git/1.png": picture(7),
    ".git/2.png": picture(8),
    "top.png": picture(9),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "z empty").mkdir()
    return root


def plain_tar(folder: Path, to: Path) -> Path:
    with tarfile.open(to / "plain.tar", "w") as archive:
        archive.add(folder, arcname=".")
    return to / "plain.tar"


def tar_in_a_folder(folder: Path, to: Path) -> Path:
    with tarfile.open(to / "nested.tar", "w") as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.name != "top.png":
                archive.add(path, arcname=f"outer/{path.relative_to(folder)}", recursive=False)
    return to / "nested.tar"


def some_zip(folder: Path, to: Path, method: int) -> Path:
    with zipfile.ZipFile(to / "some.zip", "w", method) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return to / "some.zip"


def tar_of_tars(folder: Path, to: Path) -> Path:
    with tarfile.open(to / "classes.tar", "w") as archive:
        for path in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
            with tarfile.open(to / f"{path.name}.tar", "w") as inner:
                for file in sorted(path.rglob("*")):
                    inner.add(file, arcname=file.relative_to(path), recursive=False)
            archive.add(to / f"{path.name}.tar", arcname=f"{path.name}.tar")
    return to / "classes.tar"


MAKERS = {
    "tar": plain_tar,
    "tar-in-a-folder": tar_in_a_folder,
    "tar-of-tars": tar_of_tars,
    "zip-deflated": lambda f, t: some_zip(f, t, zipfile.ZIP_DEFLATED),
    "zip-stored": lambda f, t: some_zip(f, t, zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_archive_is_the_folder_it_was_made_of(folder: Path, tmp_path: Path, make: Callable) -> None:
    source, unpacked = open_source(make(folder, tmp_path)), FolderSource(folder)
    assert isinstance(source, ArchiveSource)
    assert source.content() == unpacked.content()
    assert source.fields["label"].names == ("a", "a-cat", "b dog", "z empty")
    assert [source.name(i) for i in range(len(source))] == [unpacked.name(i) for i in range(len(unpacked))]
    assert [source[i] for i in range(len(source))] == [unpacked[i] for i in range(len(unpacked))]


@pytest.mark.parametrize("make", [plain_tar, MAKERS["zip-deflated"]], ids=["tar", "zip"])
def test_converted_bytes_are_the_same_and_nothing_is_unpacked(folder: Path, tmp_path: Path, make: Callable) -> None:
    outputs = []
    archive = make(folder, tmp_path)
    before = sorted(os.listdir(tmp_path))
    for number, source in enumerate((folder, archive)):
        output = tmp_path / f"out-{number}"
        TarConverter(source, output, images_per_file=3, batch_size=2, num_workers=2).convert()
        outputs.append({str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*") if p.is_file()})
        assert load_manifest(SplitPaths(output, "train")).ignored == {
            "empty class folder: z empty": 0,
            "hidden": 2,
            "image outside any class folder": 1,
            "not an image": 1,
        }
    assert outputs[0] == outputs[1]
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "out-0", "out-1"])


def test_a_repeated_member_counts_once_and_the_last_one_holds(tmp_path: Path) -> None:
    path = tmp_path / "twice.tar"
    with tarfile.open(path, "w") as archive:
        for seed in (1, 2):
            entry = tarfile.TarInfo("cat/1.png")
            entry.size = len(picture(seed))
            archive.addfile(entry, io.BytesIO(picture(seed)))
    source = ArchiveSource(path)
    assert len(source) == 1
    assert source[0]["image"].data == picture(2)


def test_names_give_the_classes_of_an_archive_without_folders(tmp_path: Path) -> None:
    path = tmp_path / "val.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(4):
            entry = tarfile.TarInfo(f"val_{number}.png")
            entry.size = len(picture(number))
            archive.addfile(entry, io.BytesIO(picture(number)))
    classes = {"val_0.png": "n2", "val_1.png": "n1", "val_2.png": "n2", "val_3.png": "n1"}
    source = ArchiveSource(path, classes)
    assert [source.name(i) for i in range(4)] == ["n1/val_1.png", "n1/val_3.png", "n2/val_0.png", "n2/val_2.png"]
    assert [source[i]["label"] for i in range(4)] == [0, 0, 1, 1]
    assert source[2]["image"].data == picture(0)
    with pytest.raises(InputError, match=r"no class for val_3\.png"):
        ArchiveSource(path, {k: v for k, v in classes.items() if k != "val_3.png"})
    assert "label" not in ArchiveSource(path)[0]


def test_two_classes_that_are_shown_alike_are_refused(tmp_path: Path) -> None:
    """Fault 30: as in a folder."""
    path = tmp_path / "alike.tar"
    with tarfile.open(path, "w") as archive:
        for name in (b"caf\xe9", rb"caf\xe9"):
            entry = tarfile.TarInfo(os.fsdecode(name) + "/1.png")
            entry.size = len(picture(1))
            archive.addfile(entry, io.BytesIO(picture(1)))
    with pytest.raises(InputError, match=r"alike\.tar has two class folders shown as caf"):
        ArchiveSource(path)


def test_links_devices_and_names_outside_are_not_followed(tmp_path: Path) -> None:
    """Fault 115."""
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("cat/link.png")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
        entry = tarfile.TarInfo("cat/pipe.png")
        entry.type = tarfile.FIFOTYPE
        archive.addfile(entry)
    with pytest.raises(InputError, match="link, device or sparse file: 2"):
        ArchiveSource(path)
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("../../cat/1.png"))
    with pytest.raises(InputError, match="outside of the archive"):
        ArchiveSource(path)


def test_a_compressed_tar_and_a_broken_one_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(folder, arcname=".")
    with pytest.raises(InputError, match="gunzip"):
        open_source(tmp_path / "x.tar.gz")
    (tmp_path / "broken.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(InputError, match=r"broken\.tar is not a tar or zip"):
        open_source(tmp_path / "broken.tar")
    plain = plain_tar(folder, tmp_path)
    source = ArchiveSource(plain)
    os.truncate(plain, plain.stat().st_size // 2)
    with pytest.raises(ValueError, match="bytes"):
        [source[i] for i in range(len(source))]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_image_of_a_zip_with_another_checksum_is_refused(folder: Path, tmp_path: Path, method: int) -> None:
    archive = some_zip(folder, tmp_path, method)
    good = ArchiveSource(archive)
    with zipfile.ZipFile(archive) as file:
        entry = next(e for e in file.infolist() if e.filename.endswith(good.name(2).rpartition("/")[2]))
    data = bytearray(archive.read_bytes())
    at = data.index(entry.CRC.to_bytes(4, "little"), data.index(b"PK\x01\x02"))  # in the directory at the end
    data[at] ^= 1
    archive.write_bytes(data)
    source = ArchiveSource(archive)
    assert source[1]["image"].data == good[1]["image"].data
    with pytest.raises(InputError, match=r"CRC-32 differs"):
        source[2]


def numbered_tar(path: Path, count: int) -> Path:
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            entry = tarfile.TarInfo(f"cat/{number}.png")
            entry.size = len(picture(number))
            archive.addfile(entry, io.BytesIO(picture(number)))
    return path


def test_a_tar_that_goes_on_behind_what_can_be_read_is_refused(tmp_path: Path) -> None:
    """`tarfile` takes a damaged or cut header, and the end of the first of two archives, for the end of it all."""
    whole = numbered_tar(tmp_path / "cats.tar", 5)
    with tarfile.open(whole) as archive:
        header = archive.getmember("cat/3.png").offset
    good = whole.read_bytes()
    for bad in (good[:header] + b"?" + good[header + 1 :], good[: header + 100], good + good):
        whole.write_bytes(bad)
        with pytest.raises(InputError, match=r"cats\.tar: no header of a member at byte \d+, .* copy it again"):
            ArchiveSource(whole)
        with tarfile.open(tmp_path / "outer.tar", "w") as archive:
            archive.add(numbered_tar(tmp_path / "whole.tar", 2), "whole.tar")
            archive.add(whole, "cats.tar")
        with pytest.raises(InputError, match=r"outer\.tar: no header of a member at byte \d+"):
            ArchiveSource(tmp_path / "outer.tar")
    whole.write_bytes(good + bytes(3_000_000))
    assert len(ArchiveSource(whole)) == 5


CONVERT_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from shardwright.parquet.converter import ParquetConverter

def convert(archive, output):
    ParquetConverter(archive, output, images_per_file=1000, batch_size=10, num_workers=0).convert()

convert(sys.argv[1], Path(sys.argv[3], "first"))  # once, so that everything is imported
used = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 2**26, used + 2**26))
convert(sys.argv[2], Path(sys.argv[3], "second"))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit on memory is set as on Linux")
def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    """Fault 132. An archive of 240 MB in 64 MiB more than one of 2 MB takes."""
    large = np.random.default_rng(0).integers(0, 256, (320, 250, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(large).save(file, "PNG")
    for name, count in (("small.tar", 8), ("large.tar", 1000)):
        with tarfile.open(tmp_path / name, "w") as archive:
            for number in range(count):
                entry = tarfile.TarInfo(f"class-{number % 7}/{number:04d}.png")
                entry.size = len(file.getvalue())
                archive.addfile(entry, io.BytesIO(file.getvalue()))
    assert (tmp_path / "large.tar").stat().st_size > 230_000_000
    paths = [str(tmp_path / name) for name in ("small.tar", "large.tar", "out")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", CONVERT_IN_LITTLE_MEMORY, *paths],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert load_manifest(SplitPaths(tmp_path / "out" / "second", "train")).num_samples == 1000
    shutil.rmtree(tmp_path)


def test_several_archives_of_class_folders_lose_no_labels(folder: Path, tmp_path: Path):
    (tmp_path / "tars").mkdir()
    for name in ("train-0.tar", "train-1.tar"):
        with tarfile.open(tmp_path / "tars" / name, "w") as archive:
            archive.add(folder, arcname=".")
    with pytest.raises(InputError, match=r"train-0\.tar holds class folders, and there are more .* give it alone"):
        open_source(tmp_path / "tars")
    assert "label" in open_source(tmp_path / "tars" / "train-0.tar")[0]
