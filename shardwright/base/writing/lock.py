"""The lock that keeps a second writer out of a split."""

import contextlib
from collections.abc import Iterator

from shardwright.base.errors import LockedError
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import storage_errors
from shardwright.base.storage.file_lock import held_lock, is_held, lock_error, owner_of
from shardwright.base.writing.output import make_folders

__all__ = ["split_lock"]


@contextlib.contextmanager
def split_lock(paths: SplitPaths, rank: int, world: int) -> Iterator[None]:
    """Hold rank `rank`'s right to write a split.

    Locks of other ranks of the same job live beside it; any held lock of a job of
    another world size keeps this one out.
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
        for other in paths.locks():
            if other != own and owner_of(other).get("world", world) != world and is_held(other):
                raise lock_error(other)
        yield
