"""Several ranks: every shard once, whoever is late, lost or alone."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shardwright.base.errors import DistributedError, IncompleteDatasetError, PlanMismatchError
from shardwright.base.writing.ranks import rank_and_world
from tests.conformance.children import Child
from tests.conformance.tools import Store, hashes, make_folder, numbered, same_as_numbered

COUNT = 11  # samples, in shards of 2: 6 shards


@pytest.fixture
def tar(tmp_path: Path) -> Store:
    return Store("tar", tmp_path)


@pytest.fixture
def wanted(tar: Store) -> dict[str, str]:
    return hashes(tar.convert(numbered(COUNT), "whole", images_per_file=2))


def rank_of(store: Store, rank: int, world: int, **options: Any) -> Any:
    return store.converter(numbered(COUNT), "out", images_per_file=2, rank=rank, num_replicas=world, **options)


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6, 7, 17])
def test_any_number_of_ranks_gives_the_same_bytes(tar: Store, wanted: dict[str, str], world: int, no_sync: None):
    """Faults 35, 78: fewer ranks than shards, as many, and more; each ends."""
    ranks = [rank_of(tar, rank, world) for rank in range(world)]
    with ThreadPoolExecutor(world) as pool:
        manifests = list(pool.map(lambda rank: rank.convert(), ranks))
    assert hashes(tar.root / "out") == wanted
    assert [manifest.num_samples for manifest in manifests] == [COUNT] * world


def test_ranks_in_processes_of_their_own(tar: Store, wanted: dict[str, str]):
    children = [Child(lambda rank=rank: rank_of(tar, rank, 3).convert().num_samples) for rank in (2, 0, 1)]
    assert [child.result() for child in children] == [COUNT] * 3
    assert hashes(tar.root / "out") == wanted


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_rank_leaves_no_manifest_and_any_world_completes_it(tar: Store, wanted: dict[str, str], lost: int):
    """Faults 57, 79, 80: also rank 0, once its plan is there."""
    rank_of(tar, 0, 3, wait=False).convert()
    for shard in range(lost, 6, 3):
        for file in (tar.root / "out").rglob(f"*{shard:05d}-of*"):
            file.unlink()
        (tar.root / "out" / "metadata" / f".train.part-{shard:05d}").unlink(missing_ok=True)
    for rank in {1, 2} - {lost}:
        rank_of(tar, rank, 3, wait=False).convert()
    with pytest.raises(IncompleteDatasetError, match="not finished"):
        tar.open(tar.root / "out")
    ranks = [rank_of(tar, rank, 2) for rank in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda rank: rank.convert(), ranks))
    assert hashes(tar.root / "out") == wanted


def test_waiting_for_a_lost_rank_ends_and_names_the_missing_shards(tar: Store):
    """Faults 79, 82."""
    rank_of(tar, 0, 3, wait=False).convert()
    with pytest.raises((IncompleteDatasetError, DistributedError), match=r"shards: 2, 5"):
        rank_of(tar, 1, 3, wait_timeout=0.3).convert()
    with pytest.raises(DistributedError, match="rank 0"):
        tar.converter(numbered(3), "other", rank=1, num_replicas=2, wait_timeout=0.3).convert()


def test_ranks_that_see_other_input_are_told(tar: Store):
    """Fault 76."""
    rank_of(tar, 0, 2, wait=False).convert()
    with pytest.raises((DistributedError, PlanMismatchError), match="num_samples"):
        tar.converter(numbered(COUNT + 1), "out", images_per_file=2, rank=1, num_replicas=2).convert()


def test_a_file_that_one_rank_does_not_see(tar: Store):
    """Fault 76: the listing of rank 0 is that of all; what is gone is named."""
    folder = make_folder(tar.root / "in", 6)
    rank_of_folder = {"images_per_file": 2, "num_replicas": 2, "wait": False}
    tar.converter(folder, "out", rank=0, **rank_of_folder).convert()
    for file in folder.rglob("004.*"):
        file.unlink()
    with pytest.raises(Exception, match=r"004|num_samples"):
        tar.converter(folder, "out", rank=1, **rank_of_folder).convert()
    with pytest.raises(IncompleteDatasetError):
        tar.open(tar.root / "out")


def test_the_order_of_classes_does_not_depend_on_the_listing(
    tar: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Fault 77: by code point, whatever the locale and the order of the folder."""
    folder = tmp_path / "in"
    for name in ("b", "B", "ä", "a", "Z", "é"):
        shutil.copytree(make_folder(tmp_path / "one", 1) / "cat", folder / name)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    real = os.scandir

    class Shuffled:
        def __init__(self, path: Any) -> None:
            with real(path) as entries:
                self.entries = sorted(entries, key=lambda entry: hash(entry.name))

        def __enter__(self) -> Any:
            return iter(self.entries)

        def __exit__(self, *error: object) -> None:
            pass

    first = tar.open(tar.convert(folder, "first"))
    monkeypatch.setattr(os, "scandir", Shuffled)
    second = tar.open(tar.convert(folder, "second"))
    assert first.classes == second.classes == ["B", "Z", "a", "b", "ä", "é"]
    assert hashes(tar.root / "first") == hashes(tar.root / "second")


def test_the_clock_decides_nothing(tar: Store, wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    """Fault 83: a rank whose clock is an hour ahead."""
    real = time.time
    rank_of(tar, 0, 2, wait=False).convert()
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    rank_of(tar, 1, 2).convert()
    assert hashes(tar.root / "out") == wanted


def test_without_collectives_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch):
    """Fault 85: no process group is needed."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "TORCHELASTIC")) or name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    assert rank_and_world(False, None, None) == (0, 1)
    assert rank_and_world(False, 3, 5) == (3, 5)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert rank_and_world(True, None, None) == (1, 4)
    assert rank_and_world(False, None, None) == (0, 1)


def test_all_samples_are_in_one_shard_only(tar: Store, wanted: dict[str, str]):
    reader = tar.open(tar.root / "whole")
    assert same_as_numbered(list(reader), range(COUNT))
    assert sum(shard.num_samples for shard in reader.manifest.shards) == COUNT
