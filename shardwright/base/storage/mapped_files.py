"""Whole files mapped into memory, for those who ask for it."""

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import LimitError
from shardwright.base.fork_lock import ForkLock
from shardwright.base.storage.files import FileCache

__all__ = ["MappedFiles"]


class MappedFiles:
    """Files as arrays of bytes, each mapped at its first use and for good.

    A copy out of mapped memory costs no system call. In return, a file that is cut while it is
    mapped ends the process with SIGBUS. Safe in threads and in forked children; pickling gives
    an empty one.

    Parameters
    ----------
    files : FileCache
        Opens the files, and checks their sizes.
    """

    def __init__(self, files: FileCache) -> None:
        self._files, self._lock = files, ForkLock()
        self._maps: dict[Path, NDArray[np.uint8]] = {}

    def __reduce__(self) -> tuple[type["MappedFiles"], tuple[FileCache]]:
        return MappedFiles, (self._files,)

    def get(self, path: Path, size: int) -> NDArray[np.uint8]:
        """Return the bytes of a file that must have `size` bytes; they cannot be written.

        Raises
        ------
        CorruptShardError
            If it has another size.
        StorageError
            If it cannot be opened.
        LimitError
            If the process has no room for it.
        """
        data = self._maps.get(path)
        if data is None:
            with self._lock, self._files.open(path, size) as fd:
                # A private map: torch wants memory that may be written, and no write would reach the file.
                data = np.frombuffer(_mapped(fd, size, path), np.uint8)
                self._maps[path] = data
        return data


def _mapped(fd: int, size: int, path: Path) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise LimitError(f"{path}: {size} bytes cannot be mapped ({error.strerror}); leave mmap=True out") from error
