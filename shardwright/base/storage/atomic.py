"""Files that are there whole or not at all, and that are known by size and hash."""

import contextlib
import errno
import io
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardwright.base.errors import CorruptShardError, IncompleteDatasetError, StorageError, UnsafeDataError
from shardwright.base.storage.files import MAX_BUFFERS
from shardwright.base.storage.hashes import hash_file
from shardwright.base.storage.names import is_safe_name

__all__ = [
    "StoredFile",
    "WriteFile",
    "check_file",
    "check_size",
    "storage_errors",
    "sync_file",
    "sync_files",
    "sync_folder",
    "write_bytes",
    "write_file",
    "write_files",
]

WRITE_BYTES = 2**19
NOT_ALLOWED = "this process may not write there: choose another output, or mend the permissions"
CONVERT_AGAIN = (
    "make room or mend the file system, then run the same conversion again: it goes on from the last finished shard"
)

_HASH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the split: its name, size in bytes and xxh3-64 (16 hex digits)."""

    name: str
    size: int
    xxh3: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not is_safe_name(self.name):
            raise UnsafeDataError(
                f"{self.name!r} is not a safe file name: no slash, backslash, colon or control character, "
                "no dot at its start, at most 255 bytes"
            )
        if type(self.size) is not int or not 0 <= self.size < 2**63:
            raise UnsafeDataError(f"{self.name}: size {self.size!r} is not a whole number of bytes")
        if not isinstance(self.xxh3, str) or not _HASH.fullmatch(self.xxh3):
            raise UnsafeDataError(f"{self.name}: {self.xxh3!r} is not an xxh3-64 of 16 hex digits")


class WriteFile(io.FileIO):
    """A file, by default a new one, without a buffer, that takes each write whole.

    No piece that reaches the system is larger than `WRITE_BYTES`: for larger ones Linux looks
    for contiguous memory, which was up to ten times slower on virtual machines.
    """

    def __init__(self, path: Path, mode: str = "wb") -> None:
        super().__init__(path, mode)

    def write(self, data: Any, /) -> int:
        """Write all bytes of a buffer."""
        rest = memoryview(data).cast("B")
        total = len(rest)
        while rest:
            rest = rest[os.write(self.fileno(), rest[:WRITE_BYTES]) :]
        return total

    def write_all(self, buffers: Iterable[Any]) -> None:
        """Write many buffers, one after the other, without joining them first."""
        part: list[Any] = []
        size = 0
        for buffer in buffers:
            if part and (size + len(buffer) > WRITE_BYTES or len(part) == MAX_BUFFERS):
                self._write_part(part, size)
                part, size = [], 0
            part.append(buffer)
            size += len(buffer)
        self._write_part(part, size)

    def _write_part(self, part: list[Any], size: int) -> None:
        done = os.writev(self.fileno(), part) if hasattr(os, "writev") and size <= WRITE_BYTES else 0
        if done != size:  # a large buffer; a short write: a signal, a full disk; or no writev
            self.write(memoryview(part[0] if len(part) == 1 else b"".join(part))[done:])


@contextlib.contextmanager
def storage_errors(path: Path, mend: str = CONVERT_AGAIN) -> Iterator[None]:
    """Turn errors of the file system into `StorageError` with the path, the room left and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # raised by this or a format's library or by a dataset, not by the system
            raise
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageError(f"{path}: {error.strerror}; {NOT_ALLOWED}") from error
        room = ""
        with contextlib.suppress(OSError):
            room = f" ({shutil.disk_usage(path.parent).free:,} bytes free)"
        raise StorageError(f"{path}: {error.strerror or error}{room}; {mend}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":  # folders cannot be opened there; NTFS journals names itself
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_files(folder: Path) -> None:
    """Make the contents of a folder's files durable."""
    for path in sorted(folder.iterdir()):
        sync_file(path)


def write_file(path: Path, write: Callable[[Any], None]) -> StoredFile:
    """Write a file under a temporary name, make it durable, then give it its name, or raise `StorageError`."""
    temporary = path.with_name(f".{path.name}.tmp" if not path.name.startswith(".") else f"{path.name}.tmp")
    with storage_errors(path):
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            stored = StoredFile(path.name.lstrip("."), temporary.stat().st_size, hash_file(temporary))
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)
    return stored


def write_bytes(path: Path, content: bytes) -> StoredFile:
    """Write `content` as `write_file` does."""
    return write_file(path, lambda file: file.write(content))


def write_files(folder: Path, contents: Mapping[str, bytes]) -> tuple[StoredFile, ...]:
    """Write files, name to content, as `write_file` does, in the order of their names."""
    return tuple(write_bytes(folder / name, content) for name, content in sorted(contents.items()))


def check_file(path: Path, stored: StoredFile) -> None:
    """Raise unless a file has the stored size and hash."""
    check_size(path, stored)
    found = hash_file(path)
    if found != stored.xxh3:
        raise CorruptShardError(
            f"{path}: its xxh3-64 is {found}, {stored.xxh3} was written: the file is damaged; "
            "restore it from a copy or convert again"
        )


def check_size(path: Path, stored: StoredFile) -> None:
    """Raise unless a file is there with the stored size."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise IncompleteDatasetError(
            f"{path} is missing; restore it from a copy or convert again; if the split's files lie in another folder, "
            "pass data_path="
        ) from None
    if size != stored.size:
        raise CorruptShardError(
            f"{path} has {size} bytes, {stored.size} were written; restore it from a copy or convert again"
        )
