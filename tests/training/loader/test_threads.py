"""Threads end with the iteration, and leave the others, a fork and the interpreter alone."""

import gc
import multiprocessing
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from shardwright.training.loader import ThreadedLoader
from tests.training.loader.photos import loader_threads, same


def test_threads_end_with_a_break(raw):
    for _ in ThreadedLoader(raw, 2, num_threads=3):
        assert len(loader_threads()) == 3
        break
    assert loader_threads() == []


def test_threads_end_with_the_epoch_and_with_close(raw):
    iterator = iter(ThreadedLoader(raw, 8, num_threads=2))
    assert len(list(iterator)) == 6
    assert loader_threads() == []
    iterator = iter(ThreadedLoader(raw, 8, num_threads=2))
    next(iterator)
    iterator.close()
    assert loader_threads() == []
    assert next(iterator, "end") == "end"


def test_two_iterators_at_once(raw):
    loader = ThreadedLoader(raw, 8, num_threads=2)
    assert all(same(a, b) for a, b in zip(loader, loader, strict=True))


def test_the_dataset_is_let_go():
    dataset = TensorDataset(torch.arange(10))
    gone = weakref.ref(dataset)
    iterator = iter(ThreadedLoader(dataset, 2, num_threads=2))
    next(iterator)
    del dataset, iterator
    gc.collect()
    assert gone() is None


def test_other_threads_keep_their_number_of_cores(raw):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert len(list(ThreadedLoader(raw, 8, num_threads=2))) == 6
        assert torch.get_num_threads() == 2
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert found == [2]
    finally:
        torch.set_num_threads(before)


LIVE = """
import sys
sys.path.insert(0, {root!r})
from shardwright.memmap.reader import MemmapReader
from shardwright.training.loader import ThreadedLoader
iterator = iter(ThreadedLoader(MemmapReader({path!r}), 2, num_threads=3))
next(iterator)
{end}
"""


@pytest.mark.parametrize(("end", "code"), [("", 0), ("sys.exit(3)", 3), ("raise KeyError", 1)])
def test_the_interpreter_ends_with_a_live_loader(paths, end, code):
    script = LIVE.format(root=str(Path(__file__).parents[3]), path=str(paths / "raw"), end=end)
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr


def test_a_forked_child_is_told_and_can_iterate_anew(raw):
    loader = ThreadedLoader(raw, 8, num_threads=2)
    iterator = iter(loader)
    next(iterator)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=in_child, args=(loader, iterator, queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert "forked" in queue.get()
    assert queue.get() == 6
    assert len(list(iterator)) == 5  # the parent's goes on


def in_child(loader, iterator, queue):
    try:
        next(iterator)
    except RuntimeError as error:
        queue.put(str(error))
    queue.put(len(list(loader)))
