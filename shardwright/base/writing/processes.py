"""Lists of shards dealt to worker processes, of which only counts come back.

Threads read image files as well as processes do, but share Python's lock, for which many workers
wait. So a large conversion is dealt to processes, each of which reads, packs and writes its shards.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

from shardwright.base.progress import Progress
from shardwright.base.workers import use_one_core
from shardwright.base.writing.pipeline import worker_died

__all__ = ["Counts", "in_processes", "process_count"]

LEAST_SHARDS, LEAST_SAMPLES = 4, 1000  # per process: so that all end at about one time, and that it is worth a start
SECONDS = 0.1  # between two looks at what the processes have done


def process_count(workers: int, shards: int, samples: int) -> int:
    """Return to how many processes the shards of a conversion are best dealt; 1: to none but this one."""
    # Elsewhere a process begins by importing the user's script again, which not every script is made for.
    if multiprocessing.get_context().get_start_method() != "fork" or multiprocessing.current_process().daemon:
        return 1
    return max(1, min(workers, shards // LEAST_SHARDS, samples // LEAST_SAMPLES))


class Counts:
    """What all processes have done; takes the place of `Progress` in each of them."""

    def __init__(self, context: Any) -> None:
        self._images, self._nbytes, self._skipped = (context.Value("q") for _ in range(3))
        self._stop = context.Event()
        self._shown = (0, 0)

    def add(self, images: int, nbytes: int = 0) -> None:
        """Count what was done; raise `_Stopped` if it is no use to go on."""
        if self._stop.is_set():
            raise _Stopped
        _raised(self._images, images)
        _raised(self._nbytes, nbytes)

    def skip(self) -> int:
        """Count a sample that is left out; return how many those are."""
        return _raised(self._skipped, 1)

    def stop(self) -> None:
        """Have all processes end at their next batch."""
        self._stop.set()

    def show(self, bar: Progress) -> None:
        """Tell a progress bar what was done since the last time."""
        now = self._images.value, self._nbytes.value
        bar.add(now[0] - self._shown[0], now[1] - self._shown[1])
        self._shown = now


class _Stopped(Exception):  # noqa: N818  # nobody sees it
    """Another process failed, or the conversion was interrupted."""


def _raised(value: Any, number: int) -> int:
    with value.get_lock():
        value.value += number
        return int(value.value)


def in_processes(work: Callable[[Counts, Sequence[int]], None], todo: Sequence[int], count: int, bar: Progress) -> None:
    """Call ``work(counts, part)`` in `count` processes, each with its part of `todo`, or raise `InputError`."""
    context = multiprocessing.get_context()
    counts = Counts(context)
    with ProcessPoolExecutor(count, context, _begin, (work, counts)) as pool:
        waiting: set[Future[None]] = {pool.submit(_work, todo[number::count]) for number in range(count)}
        try:
            while waiting:
                done, waiting = wait(waiting, SECONDS, FIRST_EXCEPTION)
                counts.show(bar)
                for future in done:
                    future.result()
        except BrokenProcessPool as error:
            counts.stop()
            raise worker_died(error) from error
        except BaseException:
            counts.stop()
            raise


_MINE: list[Any] = []  # of a worker process: its work, and the counts


def _begin(*mine: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that began it is interrupted too, and ends all
    use_one_core()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _MINE[:] = mine


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)  # another conversion may begin now, and must be the only one that writes


def _work(part: Sequence[int]) -> None:
    work, counts = _MINE
    work(counts, part)
