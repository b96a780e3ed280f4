"""Readers in worker processes, threads, forks and pickles: always the right sample, never a shared handle."""

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from shardwright.base.formats import format_names
from tests.conformance.children import Child, in_child
from tests.conformance.tools import Store, numbered, open_files, same_as_numbered

ORDER = np.random.default_rng(5).permutation(23).tolist()


def first(samples: list[Any]) -> list[Any]:
    """A collate function that leaves samples as they are."""
    return samples


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_forked_workers_read_what_the_parent_reads(store: Store, workers: int):
    """Fault 68: the reader was used before the workers were forked."""
    reader = store.open(store.numbers)
    assert same_as_numbered([reader[ORDER[0]]], ORDER[:1])
    loader = DataLoader(
        reader,
        batch_size=4,
        sampler=ORDER,
        num_workers=workers,
        collate_fn=first,
        multiprocessing_context="fork" if workers else None,
    )
    for _ in range(2):
        assert same_as_numbered([sample for batch in loader for sample in batch], ORDER)


def test_a_worker_init_fn_is_accepted(store: Store):
    reader = store.open(store.numbers)
    loader = DataLoader(reader, num_workers=1, collate_fn=first, worker_init_fn=type(reader).worker_init_fn)
    assert same_as_numbered([sample for batch in loader for sample in batch], range(23))


def test_parent_and_child_read_in_turns(store: Store):
    """Fault 71: a shared file position would give each the other's bytes. Also the child of a child."""
    reader = store.open(store.numbers)
    assert same_as_numbered([reader[0]], [0])
    here, there = multiprocessing.Pipe()

    def read_when_told() -> bool:
        right = []
        for n in ORDER:
            there.recv()
            right.append(same_as_numbered([reader[n]], [n]))
        return all(right) and in_child(lambda: same_as_numbered([reader[n] for n in ORDER], ORDER))

    with Child(read_when_told) as child:
        for n in reversed(ORDER):
            here.send(None)
            assert same_as_numbered([reader[n]], [n])
        assert child.result() is True


def test_a_fork_beside_reading_threads_does_not_hang(store: Store):
    """Fault 72: a lock that a thread held at the moment of the fork is held for ever in the child."""
    reader = store.open(store.numbers, max_open_files=1)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            reader.__getitems__(ORDER)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            assert in_child(lambda: same_as_numbered(reader.__getitems__(ORDER), ORDER))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_many_threads_share_a_reader(store: Store):
    """Fault 73: fewer handles than threads and shards, so that they are closed while others read."""
    reader = store.open(store.numbers, max_open_files=2)
    orders = [np.random.default_rng(n).permutation(23).tolist() for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda order: [reader[n] for n in order], orders))
    assert all(same_as_numbered(result, order) for result, order in zip(results, orders, strict=True))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda reader: pickle.loads(pickle.dumps(reader))])
def test_copies_read_the_same(store: Store, duplicate: Callable[[Any], Any]):
    """Fault 70."""
    reader = store.open(store.numbers)
    fresh = duplicate(reader)
    assert same_as_numbered([fresh[n] for n in ORDER], ORDER)
    used = duplicate(fresh)
    fresh.close()
    assert same_as_numbered([used[n] for n in ORDER], ORDER)
    assert same_as_numbered([fresh[n] for n in ORDER], ORDER)


def test_no_handle_is_pickled(store: Store):
    """Fault 70: a reader that was used is pickled to the same bytes as one that was not."""
    reader = store.open(store.numbers)
    before = pickle.dumps(reader)
    assert same_as_numbered([reader[n] for n in ORDER], ORDER)
    assert pickle.dumps(reader) == before
    assert len(before) < 20_000


def test_a_pickle_reads_after_its_original_is_gone(store: Store):
    """Fault 70: nothing in the copy leads back to files that the original had open."""
    reader = store.open(store.numbers)
    assert same_as_numbered(reader.__getitems__(ORDER), ORDER)
    state = pickle.dumps(reader)
    reader.close()
    del reader
    assert same_as_numbered(pickle.loads(state).__getitems__(ORDER), ORDER)


def test_workers_that_persist_and_an_early_break_leave_no_file_open(store: Store):
    """Fault 74."""
    reader = store.open(store.numbers)
    before = open_files(store.numbers)
    loader = DataLoader(reader, batch_size=5, num_workers=1, collate_fn=first, persistent_workers=True)
    for _ in range(5):
        assert same_as_numbered(next(iter(loader)), range(5))
    del loader
    assert open_files(store.numbers) == before


class Check(Dataset[bool]):
    """Whether each sample of a reader is right, found out where it is read."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> bool:
        return same_as_numbered([self.reader[index]], [index])


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_start_afresh_read_the_same(method: str, tmp_path: Any):
    """Fault 69. All formats at once, since a fresh process imports torch first."""
    stores = [Store(name, tmp_path / name) for name in format_names()]
    readers = [s.open(s.convert(numbered(5), images_per_file=2)) for s in stores]
    assert [reader[4][1] for reader in readers] == [4] * len(stores)
    loader = DataLoader(ConcatDataset(map(Check, readers)), num_workers=1, multiprocessing_context=method)
    right = [bool(value) for value in loader]
    by_format = {s.name: right[n * 5 : n * 5 + 5] for n, s in enumerate(stores)}
    assert by_format == {s.name: [True] * 5 for s in stores}
