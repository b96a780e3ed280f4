"""Rank 0 lists an input, the others read its list; where none is made, each opens the input itself."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import DistributedError
from shardwright.base.fields import Field
from shardwright.base.formats import technologies
from shardwright.base.open_source import open_source
from shardwright.base.source import Source
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import write_file
from shardwright.base.writing.listing import is_listed, open_unless_listed, read_listing, write_listing
from shardwright.parquet.converter import ParquetConverter
from tests.conformance.tools import encoded, make_folder, picture

COUNT = 6


def class_tar(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.add(make_folder(path.parent / "packed", COUNT), ".")
    return path


def class_zip(path: Path) -> Path:
    photos = make_folder(path.parent / "packed", COUNT)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(photos.rglob("*.*")):
            archive.write(file, file.relative_to(photos))
    return path


def samples_tar(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for number in range(COUNT):
            for suffix, data in (("jpg", encoded(picture(number), "JPEG")), ("cls", b"%d" % number)):
                member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def folder_of(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def made(path: Path) -> Path:
        path.mkdir()
        make(path / "train.tar")
        (path / "README").write_text("beside it")
        return path

    return made


def npy(path: Path) -> Path:
    np.save(path, np.zeros((COUNT, 10, 14, 3), np.uint8))
    return path


def split(path: Path) -> Path:
    ParquetConverter([(picture(n), n) for n in range(COUNT)], path, num_workers=0).convert()
    return path


# Each kind of input, whether all ranks wait for rank 0's list, and what scans it.
INPUTS: dict[str, tuple[str, Callable[[Path], Path], bool, str]] = {
    "folder": ("photos", lambda path: make_folder(path, COUNT), True, "shardwright.folders.source._scan"),
    "tar of class folders": ("in.tar", class_tar, True, "shardwright.tar.source.list_members"),
    "zip of class folders": ("in.zip", class_zip, True, "shardwright.tar.source.list_members"),
    "a tar in a folder": ("in", folder_of(class_tar), True, "shardwright.tar.source.list_members"),
    "webdataset's samples": ("in.tar", samples_tar, True, ""),
    "npy": ("in.npy", npy, False, ""),
    "split": ("in", split, False, ""),
}


@pytest.fixture(params=INPUTS)
def given(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, bool, str]:
    name, make, listed, scan = INPUTS[request.param]
    return make(tmp_path / name), listed, scan


def test_all_ranks_agree_and_only_rank_0_scans(
    given: tuple[Path, bool, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, listed, scan = given
    assert is_listed(path) is listed
    assert (open_unless_listed(path) is None) is listed
    options: dict[str, Any] = {"images_per_file": 2, "num_workers": 0, "num_replicas": 2, "wait_timeout": 5}
    ParquetConverter(path, tmp_path / "alone", images_per_file=2, num_workers=0).convert()
    assert ParquetConverter(path, tmp_path / "out", rank=0, wait=False, **options).convert() is None
    paths = SplitPaths(tmp_path / "out", "train")
    assert paths.listing.exists() is listed
    if scan:

        def scanned(*arguments: object) -> None:
            raise AssertionError("rank 1 scans the input")

        monkeypatch.setattr(scan, scanned)
    manifest = ParquetConverter(path, tmp_path / "out", rank=1, **options).convert()
    assert manifest is not None
    assert manifest.num_samples == COUNT
    assert not paths.listing.exists()
    assert paths.manifest.read_bytes() == SplitPaths(tmp_path / "alone", "train").manifest.read_bytes()


def test_a_listed_source_is_the_same(given: tuple[Path, bool, str], tmp_path: Path) -> None:
    path, listed, scan = given
    if not listed:
        return
    source = open_source(path)
    write_file(tmp_path / "listing", lambda file: write_listing(source, file))
    again = read_listing(tmp_path / "listing", path)
    assert type(again) is type(source)
    assert (again.content(), again.state(), again.fields) == (source.content(), source.state(), source.fields)
    assert (dict(again.ignored), again.nbytes) == (dict(source.ignored), source.nbytes)
    assert [again.name(n) for n in range(COUNT)] == [source.name(n) for n in range(COUNT)]
    assert [again[n]["image"].data for n in range(COUNT)] == [source[n]["image"].data for n in range(COUNT)]
    assert (source.listing() is not None) is bool(scan)


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04" + bytes(40)])
def test_a_damaged_list_is_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "listing").write_bytes(data)
    with pytest.raises(DistributedError, match=r"rank 0's list of the input, is damaged .*run it again"):
        read_listing(tmp_path / "listing", make_folder(tmp_path / "photos", COUNT))


def test_a_list_that_lacks_an_array_is_damaged(tmp_path: Path) -> None:
    photos = make_folder(tmp_path / "photos", COUNT)
    arrays = dict(open_source(photos).listing() or {})
    del arrays["ends"]
    np.savez(tmp_path / "listing.npz", **arrays)
    with pytest.raises(DistributedError, match="ends"):
        read_listing(tmp_path / "listing.npz", photos)


class Numbers(Source):
    """A source as most are: it makes no list."""

    def __init__(self) -> None:
        self.fields = {"number": Field("number", "int")}

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"number": index}


def test_a_source_makes_no_list_unless_it_says_so(tmp_path: Path) -> None:
    assert Numbers().listing() is None
    assert not is_listed(Numbers())
    assert isinstance(open_unless_listed(Numbers()), Numbers)
    with pytest.raises(NotImplementedError, match="Numbers makes no listing"):
        Numbers.from_listing(tmp_path, {})


def test_a_path_that_is_not_there_is_an_error_and_nothing_to_wait_for(tmp_path: Path) -> None:
    assert not is_listed(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        open_unless_listed(tmp_path / "nowhere")


@pytest.mark.parametrize("record", [r for r in technologies() if r.listed], ids=lambda record: record.name)
def test_what_is_listed_has_both_halves(record: Any) -> None:
    made = record.load_listed()
    assert made.listing is not Source.listing
    assert made.from_listing.__func__ is not Source.from_listing.__func__
