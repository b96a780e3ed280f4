"""A lock that a forked child finds free."""

import os
import threading

__all__ = ["ForkLock"]


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
