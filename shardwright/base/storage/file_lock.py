"""Locks that say who holds them, end with their process however it ends, and leave no file."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shardwright.base.errors import LockedError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

EXCLUSIVE = ".exclusive"

__all__ = ["held_lock", "is_held", "lock_error", "owner_of", "take_lock"]


@contextlib.contextmanager
def held_lock(path: Path, **further: int) -> Iterator[Path]:
    """Hold the lock file `path`, which tells others the process, the host and whatever is given `further`."""
    file = take_lock(path)
    try:
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), **further}))
        file.flush()
        yield Path(file.name)
    finally:
        with contextlib.suppress(OSError):
            Path(file.name).unlink()
        file.close()


def take_lock(path: Path) -> Any:
    """Return an open file whose lock this process now holds; raise `LockedError` if another does."""
    if fcntl is None:
        return _take_exclusive(path)
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise lock_error(path) from None
        except OSError:  # no locks on this file system (ENOLCK, EOPNOTSUPP)
            file.close()
            return _take_exclusive(path)
        # A holder that ended between open and flock has deleted this very file.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


def _take_exclusive(path: Path) -> Any:
    """Lock by the creation of a file, where flock does not exist; a dead owner's must be deleted by hand."""
    exclusive = path.with_name(path.name + EXCLUSIVE)
    try:
        return exclusive.open("x+")
    except FileExistsError:
        raise lock_error(exclusive, f"; if that process is dead, delete {exclusive}") from None


def is_held(path: Path) -> bool:
    """Whether a process holds a lock."""
    if fcntl is None or path.name.endswith(EXCLUSIVE):
        return True
    try:
        with path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def owner_of(path: Path) -> dict[str, Any]:
    """Return what the holder of a lock says of itself; nothing where that cannot be read."""
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def lock_error(path: Path, mend: str = "") -> LockedError:
    """Return the error for a lock that another process holds."""
    owner = owner_of(path)
    who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
    return LockedError(f"{path} is held: {who} is writing this split; wait until it ends{mend}")
