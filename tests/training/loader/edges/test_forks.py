"""A child that is forked while another thread holds a lock."""

import multiprocessing
import threading

from shardwright.memmap.reader import MemmapReader
from shardwright.training import crew
from shardwright.training.loader import ThreadedLoader


def forked_while(lock, function):
    """Fork while another thread holds a lock, and return what the child's `function` returns."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(function()))
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        child.start()
        child.join(30)
        assert child.exitcode == 0
        return queue.get()
    finally:
        child.kill()
        done.set()
        thread.join()


def test_a_child_starts_threads_though_the_parent_was_starting_some(raw):
    assert forked_while(crew._STARTING, lambda: len(list(ThreadedLoader(raw, 4, num_threads=2)))) == 5


def test_a_child_maps_files_though_the_parent_was_mapping_one(path):
    reader = MemmapReader(path, output="numpy", mmap=True)
    assert forked_while(reader.stored._maps._lock, lambda: reader[3][1]) == 3


def test_a_child_closes_files_though_the_parent_was_opening_one(raw):
    def close():
        raw.close()
        return raw[3][1]

    assert forked_while(raw.stored._files._lock, close) == 3
