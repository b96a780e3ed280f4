"""Shards that are dealt to worker processes: the same bytes, one error, nothing left by a death."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shardwright.base.errors import InputError
from shardwright.base.writing import processes
from shardwright.base.writing import shards as write
from shardwright.base.writing.processes import Counts, process_count
from shardwright.folders.source import FolderSource
from tests.conformance.children import Child
from tests.conformance.tools import Store, hashes, make_folder

OPTIONS: dict[str, Any] = {"images_per_file": 3, "num_workers": 2}

needs_fork = pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="processes are begun only where Python forks"
)


@pytest.fixture
def dealt(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Have small conversions dealt to processes too; what was dealt, at each time."""
    monkeypatch.setattr(processes, "LEAST_SHARDS", 1)
    monkeypatch.setattr(processes, "LEAST_SAMPLES", 1)
    seen: list[list[int]] = []

    def spy(work: Any, todo: list[int], count: int, bar: Any) -> None:
        seen.append([*todo])
        processes.in_processes(work, todo, count, bar)

    monkeypatch.setattr(write, "in_processes", spy)
    return seen


def change_reading(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], None]) -> None:
    """Call `change` with the number of each sample before it is read, in processes only."""
    first, read = os.getpid(), FolderSource.__getitem__

    def changed(self: FolderSource, index: int) -> dict[str, Any]:
        if os.getpid() != first:
            change(index)
        return read(self, index)

    monkeypatch.setattr(FolderSource, "__getitem__", changed)


def test_only_large_conversions_are_dealt_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(multiprocessing.get_context(), "get_start_method", lambda: "fork")
    counts = [
        process_count(*case) for case in ((8, 3, 10**6), (8, 100, 999), (8, 16, 10**6), (2, 100, 10**6), (0, 9, 9))
    ]
    assert counts == [1, 1, 4, 2, 1]


def test_none_are_begun_where_a_process_would_import_the_script_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(multiprocessing.get_context(), "get_start_method", lambda: "spawn")
    assert process_count(8, 100, 10**6) == 1


@needs_fork
def test_the_bytes_are_those_of_one_process(store: Store, tmp_path: Path, dealt: list[list[int]]):
    folder = make_folder(tmp_path / "in", 14)
    store.convert(folder, tmp_path / "one", images_per_file=3, num_workers=0)
    assert dealt == []
    for workers in (2, 3, 9):
        store.convert(folder, tmp_path / str(workers), images_per_file=3, num_workers=workers)
        assert hashes(tmp_path / str(workers)) == hashes(tmp_path / "one")
    assert dealt == [[0, 1, 2, 3, 4]] * 3


@needs_fork
def test_an_error_in_one_process_ends_all_and_a_resume_completes(
    tmp_path: Path, dealt: list[list[int]], monkeypatch: pytest.MonkeyPatch
):
    store, folder = Store("parquet", tmp_path), make_folder(tmp_path / "in", 30)

    def fail(index: int) -> None:
        if index == 16:
            raise OSError("this one cannot be read")
        time.sleep(0.01)

    with monkeypatch.context() as patch:
        change_reading(patch, fail)
        with pytest.raises(InputError, match="this one cannot be read"):
            store.convert(folder, tmp_path / "out", **OPTIONS)
    left = [path.name for path in (tmp_path / "out" / "data").iterdir()]
    assert not [name for name in left if name.startswith(".")]
    assert len(left) < 10
    store.convert(folder, tmp_path / "out", **OPTIONS)
    assert len(dealt[1]) == 10 - len(left)
    store.convert(folder, tmp_path / "one", images_per_file=3, num_workers=0)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "one")


@needs_fork
def test_a_process_that_dies_is_told_and_leaves_nothing(
    tmp_path: Path, dealt: list[list[int]], monkeypatch: pytest.MonkeyPatch
):
    store, folder = Store("tar", tmp_path), make_folder(tmp_path / "in", 12)
    with monkeypatch.context() as patch:
        change_reading(patch, lambda index: os.kill(os.getpid(), signal.SIGKILL) if index == 7 else None)
        with pytest.raises(InputError, match=r"a worker process died .* goes on from the last finished shard"):
            store.convert(folder, tmp_path / "out", **OPTIONS)
    assert len(dealt) == 1
    assert not list((tmp_path / "out" / "data").glob(".*"))
    store.convert(folder, tmp_path / "out", **OPTIONS)
    store.convert(folder, tmp_path / "one", images_per_file=3, num_workers=0)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "one")


@needs_fork
def test_samples_left_out_are_counted_over_all_processes(tmp_path: Path, dealt: list[list[int]]):
    store, folder = Store("pyarrow_ipc", tmp_path), make_folder(tmp_path / "in", 12)
    for path in sorted(folder.glob("*/*.jpg"))[1:]:
        path.write_bytes(path.read_bytes()[:50])
    bad = len(list(folder.glob("*/*.jpg"))) - 1
    assert bad == 2
    with pytest.raises(InputError, match="more than max_skipped=1"):
        store.convert(folder, tmp_path / "few", on_error="skip", max_skipped=1, **OPTIONS)
    manifest = store.converter(folder, tmp_path / "out", on_error="skip", max_skipped=2, **OPTIONS).convert()
    assert (manifest.num_samples, manifest.skipped) == (10, 2)
    assert len(dealt) == 2


@needs_fork
def test_processes_end_with_the_one_that_began_them(
    tmp_path: Path, dealt: list[list[int]], monkeypatch: pytest.MonkeyPatch
):
    store, folder, seen = Store("tar", tmp_path), make_folder(tmp_path / "in", 60), tmp_path / "seen"
    seen.mkdir()

    def work() -> None:
        change_reading(monkeypatch, slowly)
        store.convert(folder, tmp_path / "out", **OPTIONS)

    def slowly(index: int) -> None:
        (seen / str(os.getpid())).touch()
        time.sleep(0.5)

    with Child(work) as child:
        wait_for(lambda: len(list(seen.iterdir())) == 2)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        wait_for(lambda: not any(alive(int(path.name)) for path in seen.iterdir()))
    store.convert(folder, tmp_path / "out", images_per_file=3, num_workers=0)


@needs_fork
def test_an_interrupt_ends_all_processes(tmp_path: Path, dealt: list[list[int]], monkeypatch: pytest.MonkeyPatch):
    store, folder, seen = Store("tar", tmp_path), make_folder(tmp_path / "in", 60), tmp_path / "seen"
    seen.mkdir()

    def slowly(index: int) -> None:
        (seen / str(os.getpid())).touch()
        time.sleep(0.02)

    def work() -> str:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        change_reading(monkeypatch, slowly)
        try:
            store.convert(folder, tmp_path / "out", **OPTIONS)
        except KeyboardInterrupt:
            return "interrupted"
        return "completed"

    with Child(work) as child:
        wait_for(lambda: len(list(seen.iterdir())) == 2)
        for pid in (child.pid, *(int(path.name) for path in seen.iterdir())):
            os.kill(pid, signal.SIGINT)  # as a terminal does
        assert child.result() == "interrupted"
    assert not any(alive(int(path.name)) for path in seen.iterdir())
    assert not list((tmp_path / "out" / "data").glob(".*"))


def test_counts_are_shown_once():
    class Bar:
        def __init__(self) -> None:
            self.added: list[tuple[int, int]] = []

        def add(self, images: int, nbytes: int) -> None:
            self.added.append((images, nbytes))

    counts, bar = Counts(multiprocessing.get_context()), Bar()
    counts.add(3, 100)
    counts.show(bar)  # type: ignore[arg-type]
    counts.add(2, 50)
    counts.add(1, 1)
    counts.show(bar)  # type: ignore[arg-type]
    assert bar.added == [(3, 100), (3, 51)]
    assert [counts.skip(), counts.skip()] == [1, 2]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asks for does not."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(reached: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"not reached within {seconds} s"
        time.sleep(0.02)
