"""Locks that say who holds them, end with their process however it ends, and leave no file."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shardwright.base.errors import LockedError
from shardwright.base.split.paths import SplitPaths, make_folders, storage_errors

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

EXCLUSIVE = ".exclusive"

__all__ = ["held_lock", "split_lock", "take_lock"]


@contextlib.contextmanager
def split_lock(paths: SplitPaths, rank: int, world: int) -> Iterator[None]:
    """Hold rank `rank`'s right to write a split.

    Locks of other ranks of the same job live beside it; any held lock of a job of
    another world size keeps this one out.

    Raises
    ------
    LockedError
        If another process holds it; the message says which.
    """
    path = paths.lock(rank)
    with contextlib.ExitStack() as stack:
        with storage_errors(path):
            make_folders(paths)
            try:
                own = stack.enter_context(held_lock(path, world=world))
            except LockedError as error:
                raise LockedError(
                    f"{error}. If it is of this very job, two processes of the job are rank {rank}: "
                    "start each with its own"
                ) from None
        for other in sorted(paths.metadata.glob(f".{paths.split}.lock-*")):
            if other != own and _owner(other).get("world", world) != world and _is_held(other):
                raise _locked(other)
        yield


@contextlib.contextmanager
def held_lock(path: Path, **further: int) -> Iterator[Path]:
    """Hold the lock file `path`, which tells others the process, the host and whatever is given `further`.

    Yields
    ------
    Path
        The file that is locked.

    Raises
    ------
    LockedError
        If another process holds it.
    """
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
            raise _locked(path) from None
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
        raise _locked(exclusive, f"; if that process is dead, delete {exclusive}") from None


def _is_held(path: Path) -> bool:
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


def _owner(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _locked(path: Path, mend: str = "") -> LockedError:
    owner = _owner(path)
    who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
    return LockedError(f"{path} is held: {who} is writing this split; wait until it ends{mend}")
