"""Work in threads, whose results come in the order of the items."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_threads", "use_one_core"]

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
    torch.get_num_threads()  # the first call sets a thread up, and would undo the next line
    torch.set_num_threads(1)
