"""Worker threads that take tasks from a queue, and that are certain to end."""

import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch

from shardwright.base.workers import ForkLock, use_one_core

__all__ = ["Crew"]

Task = Callable[[], None]

_STARTING = ForkLock()


class Crew:
    """Threads that run tasks in the order of `add`.

    They end when `close` is called, when the crew is garbage, and at the exit of the
    interpreter. They hold no reference to the crew, only to its queue.
    """

    def __init__(self, count: int) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        ready = threading.Semaphore(0)
        self._threads = [
            # Daemons, so that the interpreter ends them by `close` and does not wait before.
            threading.Thread(target=_work, args=(self._tasks, self._stop, ready), name=f"loader-{i}", daemon=True)
            for i in range(count)
        ]
        self.close = weakref.finalize(self, _end, os.getpid(), self._tasks, self._stop, self._threads)
        _start(self._threads, ready)

    def add(self, task: Task) -> None:
        """Have a task run; it must not raise."""
        if self._threads:
            self._tasks.put(task)
        else:
            task()


def _start(threads: list[threading.Thread], ready: threading.Semaphore) -> None:
    """Start threads that use one core each, and leave the settings of all others as they are."""
    if not threads:
        return
    with _STARTING:
        before = torch.get_num_threads()
        for thread in threads:
            thread.start()
        for _ in threads:
            ready.acquire()
        torch.set_num_threads(before)


def _work(tasks: "queue.SimpleQueue[Task | None]", stop: threading.Event, ready: threading.Semaphore) -> None:
    use_one_core()
    ready.release()
    while (task := tasks.get()) is not None:
        if not stop.is_set():
            task()
        del task  # else an idle thread would keep what the task refers to


def _end(pid: int, tasks: Any, stop: threading.Event, threads: list[threading.Thread]) -> None:
    if pid != os.getpid():
        return  # a forked child has none of the threads
    stop.set()
    for _ in threads:
        tasks.put(None)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join()
