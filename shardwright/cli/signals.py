"""Signals of a scheduler as an exception, so that a conversion stops cleanly and can go on later."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Stopped", "stop_on_signals"]


class Stopped(KeyboardInterrupt):
    """The process was told to stop; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `Stopped` on SIGTERM and SIGUSR1, which schedulers send before they kill."""
    process = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == process:  # a forked worker is stopped by its parent
            raise Stopped(number)

    # Python sets handlers in the main thread only. One that is not the default has a purpose: nohup, a debugger.
    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        wanted = []
    wanted = [number for number in wanted if signal.getsignal(number) is signal.SIG_DFL]
    for number in wanted:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in wanted:
            signal.signal(number, signal.SIG_DFL)
