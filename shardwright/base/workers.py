"""Threads: work whose results come in order, one core for each, and a lock that survives a fork.

torch, which is slow to import, is so only where threads are started.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ForkLock", "in_threads", "use_one_core"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], count: int) -> Generator[Result]:
    """Yield ``function(item)`` for every item, in order, worked out by `count` threads; with 0 by the caller's.

    Each thread computes on one core. At most two items more than there are threads are worked
    out ahead, so memory stays bounded.
    """
    if not count:
        yield from map(function, items)
        return
    import torch

    before = torch.get_num_threads()
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(count, "convert", use_one_core)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > count + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # the threads' own setting is partly everybody's


def use_one_core() -> None:
    """Have torch compute on one core in this thread; in the first thread of a process, in all of it."""
    import torch

    torch.get_num_threads()  # the first call sets a thread up, and would undo the next line
    torch.set_num_threads(1)


class ForkLock:
    """A lock with one state per process.

    A plain lock that another thread holds at the moment of a fork stays held in the child for
    ever: the thread that would release it does not exist there.
    """

    def __init__(self) -> None:
        self._locks = {os.getpid(): threading.Lock()}

    def __enter__(self) -> None:
        pid = os.getpid()
        lock = self._locks.get(pid)
        if lock is None:
            lock = self._locks.setdefault(pid, threading.Lock())  # one of several threads wins
        lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._locks[os.getpid()].release()
