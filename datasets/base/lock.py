"""A lock that says who holds it, and leaves no file."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from datasets.base.commit import take_lock

__all__ = ["held_lock"]


@contextlib.contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which others are told the process and the host of.

    Raises
    ------
    LockedError
        If another process holds it.
    """
    file = take_lock(path)
    try:
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield
    finally:
        with contextlib.suppress(OSError):
            Path(file.name).unlink()
        file.close()
