"""The bytes on disk depend on input and options alone."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shardwright.base.formats import get_format
from tests.conformance.tools import Store, hashes, numbered

WORKERS = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture
def wanted(store: Store) -> dict[str, str]:
    """The hashes of every file of `store.photos`."""
    found = hashes(store.photos)
    assert all("/." not in f"/{name}" for name in found), "a finished split leaves hidden files"
    return found


@WORKERS
@pytest.mark.parametrize(("workers", "batch"), [(0, 1), (0, 7), (0, 32), (0, 1000), (4, 7), (1, 1000)])
def test_workers_and_batches_change_no_byte(
    store: Store, wanted: dict[str, str], tmp_path: Path, workers: int, batch: int
):
    path = store.convert(store.root / "photos-in", tmp_path / "out", num_workers=workers, batch_size=batch)
    assert hashes(path) == wanted


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_change_no_byte(store: Store, wanted: dict[str, str], tmp_path: Path, world: int):
    """Faults 35, 57, 78: also one rank, and more ranks than shards."""
    ranks = [
        store.converter(store.root / "photos-in", tmp_path / "out", rank=rank, num_replicas=world)
        for rank in range(world)
    ]
    with ThreadPoolExecutor(world) as pool:
        manifests = list(pool.map(lambda rank: rank.convert(), ranks))
    assert hashes(tmp_path / "out") == wanted
    assert all(manifest == manifests[0] for manifest in manifests)


def test_the_place_and_the_time_of_the_input_change_no_byte(store: Store, wanted: dict[str, str], tmp_path: Path):
    copied = shutil.copytree(store.root / "photos-in", tmp_path / "another" / "place")
    for path in copied.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))
    assert hashes(store.convert(copied, tmp_path / "out")) == wanted


def test_ranks_one_after_another_change_no_byte(store: Store, wanted: dict[str, str], tmp_path: Path):
    """Fault 81: no rank waits for another while it converts."""
    for rank in (0, 2, 1):
        converter = store.converter(store.root / "photos-in", tmp_path / "out", rank=rank, num_replicas=3, wait=False)
        assert (converter.convert() is not None) is (rank == 1)
    assert hashes(tmp_path / "out") == wanted


def test_converting_again_changes_nothing(store: Store, tmp_path: Path):
    """Fault 56."""
    path = store.convert(numbered(4), tmp_path / "out", images_per_file=3)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in path.rglob("*") if p.is_file()}
    store.convert(numbered(4), tmp_path / "out", images_per_file=3)
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in path.rglob("*") if p.is_file()} == before


def test_overwriting_by_the_same_changes_no_byte(store: Store, tmp_path: Path):
    path = store.convert(numbered(4), tmp_path / "out", images_per_file=3)
    before = hashes(path)
    store.convert(numbered(4), tmp_path / "out", images_per_file=3, overwrite=True)
    assert hashes(path) == before


def test_a_conversion_from_another_format_gives_the_same_bytes(store: Store, wanted: dict[str, str], tmp_path: Path):
    """Parquet holds the bytes of the files, so what is made of it is what is made of the folder."""
    parquet = get_format("parquet").load_converter()
    parquet(store.root / "photos-in", tmp_path / "between", 4, num_workers=0).convert()
    path = store.convert(tmp_path / "between", tmp_path / "out")
    shards = {name: value for name, value in hashes(path).items() if name.startswith("data/")}
    assert shards == {name: value for name, value in wanted.items() if name.startswith("data/")}
