"""Byte ranges from local files: pread, with a bounded number of open files per process, or mapped files.

`os.pread` has no file position to share, so one open file serves any number of
threads and forked processes; it releases the GIL; and at the end of a file
that was cut it returns fewer bytes, where a mapped file kills the process.
"""

import contextlib
import errno
import math
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError, LimitError, StorageError
from shardwright.base.workers import ForkLock

__all__ = ["FileCache", "MappedFiles", "Run", "aligned_empty", "mapped", "read_exactly", "read_into", "read_runs"]

# Buffers per call of preadv or writev: the system's limit (IOV_MAX) is 1024.
MAX_BUFFERS = 512
CACHE_LINE = 64  # bytes
_HAS_PREAD = hasattr(os, "preadv")


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """Map a file that this process just wrote; empty files give an empty view."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            yield view


class _Handle:
    """An open file, which is closed as soon as nobody holds this any more."""

    def __init__(self, path: Path) -> None:
        self.fd = -1
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # `os` may be gone at the interpreter's exit
        if self.fd >= 0:
            close(self.fd)


class FileCache:
    """Open files, at most `limit` of them, each opened at its first use.

    Safe in threads, and in a forked child, which begins with none. Pickling
    keeps the arguments only.
    """

    def __init__(self, limit: int = 64, opened: Callable[[], None] | None = None) -> None:
        self.limit, self._opened = limit, opened
        self._pid, self._lock = os.getpid(), ForkLock()
        self._handles: OrderedDict[Path, _Handle] = OrderedDict()

    def __reduce__(self) -> tuple[type["FileCache"], tuple[Any, ...]]:
        return FileCache, (self.limit, self._opened)

    @contextlib.contextmanager
    def open(self, path: Path, size: int) -> Iterator[int]:
        """Lend the descriptor of a file that must have `size` bytes."""
        handle = self._get(path, size)
        yield handle.fd

    def _get(self, path: Path, size: int) -> _Handle:
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._handles = os.getpid(), OrderedDict()
            handle = self._handles.get(path)
            if handle is None:
                handle = _open(path, size)
                if self._opened is not None:
                    self._opened()
                self._handles[path] = handle
            else:
                self._handles.move_to_end(path)
            while len(self._handles) > self.limit:
                self._handles.popitem(last=False)
            return handle

    def drop(self, path: Path) -> None:
        """Forget a file, so that the next use opens it anew."""
        with self._lock:
            self._handles.pop(path, None)

    def close(self) -> None:
        """Close all files; a later use opens them again."""
        with self._lock:
            self._handles.clear()

    def __len__(self) -> int:
        return len(self._handles)


def _open(path: Path, size: int) -> _Handle:
    try:
        handle = _Handle(path)
        found = os.fstat(handle.fd).st_size
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; was the split moved or deleted while it was read?") from error
    if found != size:
        del handle  # the error, which would hold it, may be kept for long
        raise CorruptShardError(
            f"{path} has {found} bytes, {size} were written; restore it from a copy or convert again"
        )
    return handle


# Values that lie end to end in a file: where they begin, their bytes, and the buffers they go to.
Run = tuple[int, int, list[Any]]


def read_runs(fd: int, runs: Iterable[Run], path: Path) -> None:
    """Fill the buffers of all runs, or raise `CorruptShardError` or `StorageError`."""
    offset = 0
    try:
        for offset, wanted, buffers in runs:
            count = os.preadv(fd, buffers, offset) if _HAS_PREAD else 0
            if count != wanted:
                _read_rest(fd, buffers, offset, count, path)
    except StorageError:
        raise
    except OSError as error:
        raise _failed(path, offset, error) from error


def read_into(fd: int, buffers: list[Any], offset: int, path: Path) -> None:
    """Fill `buffers`, which lie end to end in the file from byte `offset`; raises like `read_runs`."""
    read_runs(fd, [(offset, sum(map(len, buffers)), buffers)], path)


def _read_rest(fd: int, buffers: list[Any], offset: int, done: int, path: Path) -> None:
    """Go on after a short read, buffer by buffer."""
    for buffer in buffers:
        view = memoryview(buffer)
        while done < len(view):
            data = _read_some(fd, len(view) - done, offset + done, path)
            view[done : done + len(data)] = data
            done += len(data)
        offset, done = offset + len(view), done - len(view)


def read_exactly(fd: int, length: int, offset: int, path: Path) -> bytes:
    """Return `length` bytes from byte `offset`; raises like `read_into`."""
    data = _read_some(fd, length, offset, path) if length else b""
    while len(data) < length:
        data += _read_some(fd, length - len(data), offset + len(data), path)
    return data


def _read_some(fd: int, length: int, offset: int, path: Path) -> bytes:
    try:
        data = os.pread(fd, length, offset) if _HAS_PREAD else _seek_and_read(fd, length, offset)
    except OSError as error:
        raise _failed(path, offset, error) from error
    if not data:
        raise CorruptShardError(f"{path} ends before byte {offset + length}; it was cut while it was open")
    return data


_SEEK_LOCK = threading.Lock()


def _seek_and_read(fd: int, length: int, offset: int) -> bytes:
    """Read where `pread` does not exist (Windows); one thread at a time, since the position is shared."""
    with _SEEK_LOCK:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, length)


def _failed(path: Path, offset: int, error: OSError) -> StorageError:
    stale = error.errno in (errno.ESTALE, errno.ENOENT)
    mend = "the file was replaced on the server; open the reader again" if stale else "check the disk"
    return StorageError(f"{path}: reading at byte {offset}: {error.strerror}; {mend}")


class MappedFiles:
    """Files as arrays of bytes, each mapped at its first use and for good.

    A copy out of mapped memory costs no system call. In return, a file that is cut while it is
    mapped ends the process with SIGBUS. Safe in threads and in forked children; pickling gives
    an empty one.
    """

    def __init__(self, files: FileCache) -> None:
        self._files, self._lock = files, ForkLock()
        self._maps: dict[Path, NDArray[np.uint8]] = {}

    def __reduce__(self) -> tuple[type["MappedFiles"], tuple[FileCache]]:
        return MappedFiles, (self._files,)

    def get(self, path: Path, size: int) -> NDArray[np.uint8]:
        """Return the bytes of a file that must have `size` bytes; they cannot be written."""
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


def aligned_empty(shape: Sequence[int], dtype: Any) -> NDArray[Any]:
    """Return an uninitialized array like `numpy.empty`, which begins at a multiple of `CACHE_LINE` bytes.

    The system copies from its cache in whole cache lines where both sides begin at one; the values of ``.npy``
    files do. NumPy's own arrays begin 16 bytes after one, which made reading a fifth slower.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    aligned: NDArray[Any] = memory[start : start + size].view(dtype).reshape(shape)
    return aligned
