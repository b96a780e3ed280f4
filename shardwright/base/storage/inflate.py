"""Where the bytes of an array lie: in a file as they are, or in a deflated stream.

Both are read by position, hold no open file and can be pickled, so they serve
worker processes of any kind. A file that changes after it was looked at is an
error, never other data.
"""

import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardwright.base.errors import InputError
from shardwright.base.storage.files import read_into
from shardwright.base.storage.names import READ_FLAGS, checked_status, printable

__all__ = ["Bytes", "FileBytes", "InflatedBytes", "ReadInto", "file_bytes", "head_of"]

# Fills a buffer from a position and returns how many bytes there were.
ReadInto = Callable[[memoryview, int], int]
_INPUT_STEP = 2**18  # compressed bytes read at a time
_OUTPUT_STEP = 2**20  # bytes inflated at a time, at most
# Places where the decompressor's state is kept, about 40 kB each; without any, a jump in MNIST takes 155 ms, not 11.
_MARKS = 128
GZIP, RAW = 31, -15  # zlib's names for the two kinds of stream


@dataclass(frozen=True, slots=True)
class FileBytes:
    """Part of a file that lies there as it is."""

    path: str
    offset: int
    size: int
    identity: tuple[int, int]

    @property
    def shown(self) -> str:
        """The path as valid UTF-8."""
        return printable(os.fsencode(self.path))

    def part(self, offset: int, size: int) -> "FileBytes":
        """Return a part of this part."""
        return FileBytes(self.path, self.offset + offset, size, self.identity)

    def has_changed(self) -> bool:
        """Whether the file is gone, or has another size or time of the last change."""
        try:
            status = os.stat(self.path)
        except OSError:
            return True
        return (status.st_size, status.st_mtime_ns) != self.identity

    @contextmanager
    def opened(self) -> Iterator[ReadInto]:
        """Open the file for as long as the context lasts."""
        try:
            handle = os.open(self.path, READ_FLAGS)
        except OSError as error:
            raise InputError(f"{self.shown} cannot be read: {error.strerror}; was it moved meanwhile?") from error
        try:
            status = os.fstat(handle)
            if (status.st_size, status.st_mtime_ns) != self.identity:
                raise InputError(f"{self.shown} has changed; let nobody write to the input, then convert again")
            yield lambda view, offset: self._read(handle, view, offset)
        finally:
            os.close(handle)

    def _read(self, handle: int, view: memoryview, offset: int) -> int:
        view = view[: max(0, self.size - offset)]
        if len(view):
            read_into(handle, [view], self.offset + offset, Path(self.path))
        return len(view)


def file_bytes(path: str | os.PathLike[str]) -> FileBytes:
    """Return the bytes of a whole file, or raise `InputError`."""
    where = os.path.abspath(os.path.expanduser(os.fsdecode(path)))
    status = checked_status(os.fsencode(where))
    if os.path.isdir(where):
        raise InputError(f"{printable(os.fsencode(where))} is a folder: give a file")
    return FileBytes(where, 0, status.st_size, (status.st_size, status.st_mtime_ns))


class _Cursor:
    """A decompressor, and where it stands in the compressed and in the inflated bytes."""

    __slots__ = ("inflater", "inside", "outside", "pending")

    def __init__(self, inflater: Any, outside: int = 0, inside: int = 0, pending: bytes = b"") -> None:
        self.inflater, self.outside, self.inside, self.pending = inflater, outside, inside, pending

    def copy(self) -> "_Cursor":
        return _Cursor(self.inflater.copy(), self.outside, self.inside, self.pending)


class InflatedBytes:
    """A deflated stream (gzip, or a member of a zip file), read by position.

    The state of the decompressor is kept at up to 128 places, so a jump costs
    a small part of the stream and memory stays bounded however long it is.
    """

    def __init__(self, file: FileBytes, kind: int) -> None:
        self._file, self._kind = file, kind
        self._lock = threading.Lock()
        start = _Cursor(zlib.decompressobj(kind))
        self._marks, self._spacing, self._cursor = [start.copy()], 2**20, start

    def __reduce__(self) -> tuple[type["InflatedBytes"], tuple[FileBytes, int]]:
        return InflatedBytes, (self._file, self._kind)

    @property
    def shown(self) -> str:
        """The path as valid UTF-8."""
        return self._file.shown

    @property
    def identity(self) -> tuple[int, int]:
        """Size and modification time (ns) of the whole file when it was looked at."""
        return self._file.identity

    @contextmanager
    def opened(self) -> Iterator[ReadInto]:
        """Open the file for as long as the context lasts."""
        with self._file.opened() as read:
            yield lambda view, offset: self._read(read, view, offset)

    def check(self, size: int, crc: int | None = None) -> None:
        """Inflate everything once, so that damage is found before anything is written, or raise `InputError`."""
        found, digest, buffer = 0, 0, memoryview(bytearray(_OUTPUT_STEP))
        with self.opened() as read:
            while found <= size and (count := read(buffer, found)):
                found += count
                digest = zlib.crc32(buffer[:count], digest)
        if found != size:
            more = "more than " if found > size else ""
            raise InputError(
                f"{self.shown}: holds {more}{min(found, size)} bytes where its header says {size}; "
                "it is cut or not what its header says: make or download it again"
            )
        if crc is not None and digest != crc:
            raise self._damaged("its CRC-32 differs")

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self.shown}: the compressed data is damaged ({reason}); make or download it again")

    def _read(self, read: ReadInto, view: memoryview, offset: int) -> int:
        with self._lock:
            cursor, mark = self._cursor, next(mark for mark in reversed(self._marks) if mark.outside <= offset)
            if not mark.outside <= cursor.outside <= offset:
                cursor = mark.copy()
            # A failed read leaves the decompressor in an unknown state: begin at a mark again.
            self._cursor = self._marks[0].copy()
            while cursor.outside < offset and self._inflate(read, cursor, min(offset - cursor.outside, _OUTPUT_STEP)):
                pass
            done = 0
            while done < len(view) and (data := self._inflate(read, cursor, min(len(view) - done, _OUTPUT_STEP))):
                view[done : done + len(data)] = data
                done += len(data)
            self._cursor = cursor
            return done

    def _inflate(self, read: ReadInto, cursor: _Cursor, limit: int) -> bytes:
        """Return up to `limit` bytes from where the cursor stands; none at the end."""
        while True:
            if cursor.inflater.eof and not self._next_member(read, cursor):
                return b""
            more = bool(cursor.pending) or self._fill(read, cursor)
            try:  # also without more input: the decompressor may hold output back
                data: bytes = cursor.inflater.decompress(cursor.pending, limit)
            except zlib.error as error:
                raise self._damaged(str(error)) from error
            cursor.pending = cursor.inflater.unused_data if cursor.inflater.eof else cursor.inflater.unconsumed_tail
            if data:
                cursor.outside += len(data)
                self._keep(cursor)
                return data
            if not more and not cursor.inflater.eof:
                raise self._damaged("it ends too early")

    def _fill(self, read: ReadInto, cursor: _Cursor) -> bool:
        buffer = bytearray(_INPUT_STEP)
        count = read(memoryview(buffer), cursor.inside)
        cursor.inside += count
        cursor.pending = bytes(buffer[:count])
        return count > 0

    def _next_member(self, read: ReadInto, cursor: _Cursor) -> bool:
        """Begin the next of several gzip members, if there is one; zeros after the last are padding."""
        if self._kind != GZIP:
            return False
        while not (pending := cursor.pending.lstrip(b"\0")):
            if not self._fill(read, cursor):
                return False
        cursor.pending = pending
        cursor.inflater = zlib.decompressobj(self._kind)
        return True

    def _keep(self, cursor: _Cursor) -> None:
        if cursor.outside < self._marks[-1].outside + self._spacing:
            return
        self._marks.append(cursor.copy())
        if len(self._marks) > _MARKS:
            del self._marks[1::2]
            self._spacing *= 2


# Bytes that are read by position, whichever way they lie in the file.
Bytes = FileBytes | InflatedBytes


def head_of(source: Bytes, count: int) -> bytes:
    """Return the first `count` bytes, fewer if there are not so many."""
    buffer = bytearray(count)
    with source.opened() as read:
        return bytes(buffer[: read(memoryview(buffer), 0)])
