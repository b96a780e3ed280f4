"""Worker threads of a conversion: the order of results, bounded work ahead, certain ends."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from shardwright.base.workers import in_threads
from shardwright.folders.source import FolderSource
from shardwright.tar.converter import TarConverter
from tests.conformance.tools import hashes, make_folder


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("convert")]


def test_results_come_in_the_order_of_the_items():
    def slow_when_even(item: int) -> int:
        time.sleep(0.002 * (item % 2 == 0))
        return item * item

    assert list(in_threads(slow_when_even, range(20), 3)) == [i * i for i in range(20)]
    assert threads() == []


def test_only_a_few_items_are_worked_out_ahead():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_threads(str, items(), 2)
    assert next(results) == "0"
    assert len(taken) == 4
    results.close()
    assert len(taken) == 4
    assert threads() == []


def test_an_error_comes_at_its_place_and_ends_the_threads():
    def fail_at_3(item: int) -> int:
        if item == 3:
            raise KeyError("lost")
        return item

    results = in_threads(fail_at_3, range(10), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="lost"):
        next(results)
    assert threads() == []


def test_each_thread_computes_on_one_core_and_others_keep_theirs():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(in_threads(lambda _: torch.get_num_threads(), range(8), 2)) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class OwnHook(TarConverter):
    """A converter with a hook of somebody else, which may be no friend of threads."""

    seen: Path

    def _custom_collate_fn(self, batch):
        (self.seen / f"{os.getpid()}").touch()
        return super()._custom_collate_fn(batch)


class Plugged(TarConverter):
    """The same, and its module is called as if it were one of ours."""

    def _custom_collate_fn(self, batch):
        return super()._custom_collate_fn(batch)

    _custom_collate_fn.__module__ = "shardwright.base.plugged"


SMALL = {"images_per_file": 4, "batch_size": 2, "num_workers": 2}


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of this process's threads that read image files."""
    names: set[str] = set()
    read = FolderSource.__getitem__

    def noted(source: FolderSource, index: int) -> dict[str, object]:
        names.add(threading.current_thread().name.partition("_")[0])
        return read(source, index)

    monkeypatch.setattr(FolderSource, "__getitem__", noted)
    return names


def test_image_files_are_read_by_threads_and_somebody_elses_hook_runs_in_processes(tmp_path: Path, readers: set[str]):
    """Fault 130: so image files take no shared memory."""
    make_folder(tmp_path / "in", 9)
    TarConverter(tmp_path / "in", tmp_path / "threads", **SMALL).convert()
    assert readers == {"MainThread", "convert"}  # the first sample says what the fields are

    OwnHook.seen = tmp_path / "seen"
    OwnHook.seen.mkdir()
    OwnHook(tmp_path / "in", tmp_path / "processes", **SMALL).convert()
    pids = {int(path.name) for path in OwnHook.seen.iterdir()}
    assert pids
    assert os.getpid() not in pids
    assert hashes(tmp_path / "threads") == hashes(tmp_path / "processes")


@pytest.mark.parametrize("options", [{"longer_side": 8}, {"shorter_side": 8}])
def test_image_files_are_made_smaller_by_threads(tmp_path: Path, readers: set[str], options: dict[str, int]):
    make_folder(tmp_path / "in", 9)
    TarConverter(tmp_path / "in", tmp_path / "out", **SMALL, **options).convert()
    assert readers == {"MainThread", "convert"}


def test_a_hook_is_somebody_elses_wherever_it_was_written(tmp_path: Path, readers: set[str]):
    make_folder(tmp_path / "in", 9)
    Plugged(tmp_path / "in", tmp_path / "out", **SMALL).convert()
    assert readers == {"MainThread"}
