"""The frames of TFRecord files: where each record lies, both checksums checked.

A record is its length (8 bytes, little-endian), the masked CRC-32C of those 8
bytes, the data, and the masked CRC-32C of the data.
"""

import functools
import importlib
import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, InputError, LimitError
from shardwright.base.storage.inflate import GZIP, Bytes, FileBytes, InflatedBytes, ReadInto, file_bytes, head_of

__all__ = ["MAX_RECORD", "RecordFile", "begins_with_record", "framed", "open_records"]

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
MAX_RECORD = 2**30  # more than protobuf parses
INSTALL = "TFRecord files needs protobuf and google-crc32c: pip install 'shardwright[tfrecord]'"


@functools.cache
def _crc32c() -> Callable[[bytes], int]:
    """Return the checksum function of whichever library is there."""
    for module, name in (("google_crc32c", "value"), ("crc32c", "crc32c")):
        try:
            function: Callable[[bytes], int] = getattr(importlib.import_module(module), name)
        except ImportError:
            continue
        return function
    raise ConfigError(INSTALL)


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> list[bytes]:
    """Return the pieces of a record that holds `data`, in the order in which a file has them."""
    length = struct.pack("<Q", len(data))
    return [length, _CRC.pack(_masked(_crc32c()(length))), data, _CRC.pack(_masked(_crc32c()(data)))]


def begins_with_record(head: bytes) -> bool:
    """Tell whether `head` (12 bytes) is the length of a record with its checksum."""
    if len(head) < _HEADER.size:
        return False
    return bool(_masked(_crc32c()(head[:8])) == _HEADER.unpack(head[:12])[1])


@dataclass(frozen=True)
class RecordFile:
    """A TFRecord file and where its records lie.

    Parameters
    ----------
    file : FileBytes
    source : FileBytes or InflatedBytes
        What the offsets count in: the file itself, or what gzip makes of it.
    offsets, lengths : int64 arrays of shape (N,)
        Of the data of each record.
    """

    file: FileBytes
    source: Bytes
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, number: int) -> bytes:
        """Return the data of a record, checked again."""
        with self.source.opened() as read:
            length = self.lengths.item(number)
            return _read_data(read, self.offsets.item(number), length, _where(self.file, number))


def _where(file: FileBytes, number: int) -> str:
    return f"{file.shown}, record {number}"


def _exactly(read: ReadInto, count: int, offset: int, where: str, what: str) -> bytes:
    """Read `count` bytes; none at all at the end of the file."""
    buffer = bytearray(count)
    try:
        found = read(memoryview(buffer), offset)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if found not in (0, count):
        raise InputError(f"{where}: the file ends within {what}: it is cut, copy or make it again")
    return bytes(buffer[:found])


def _read_data(read: ReadInto, offset: int, length: int, where: str) -> bytes:
    data = _exactly(read, length + _CRC.size, offset, where, "the data")
    if not data:
        raise InputError(f"{where}: the file ends before the data: it is cut, copy or make it again")
    if _masked(_crc32c()(data[:length])) != _CRC.unpack_from(data, length)[0]:
        raise InputError(f"{where}: the CRC-32C of the data differs: the file is damaged, copy or make it again")
    return data[:length]


def _records(read: ReadInto, file: FileBytes) -> Iterator[tuple[int, bytes]]:
    """Yield offset and data of all records of a file."""
    position, number = 0, 0
    while head := _exactly(read, _HEADER.size, position, _where(file, number), "the length"):
        where = _where(file, number)
        if not begins_with_record(head):
            raise InputError(
                f"{where}: the CRC-32C of the length (at byte {position}) differs: "
                "the file is damaged, or no TFRecord file"
            )
        length = _HEADER.unpack(head)[0]
        if length > MAX_RECORD:
            raise LimitError(f"{where} has {length} bytes, more than {MAX_RECORD}")
        position += _HEADER.size
        yield position, _read_data(read, position, length, where)
        position += length + _CRC.size
        number += 1


def open_records(path: str, look: Callable[[bytes, str], None]) -> RecordFile:
    """Read a whole file once, and note where its records lie.

    Parameters
    ----------
    path : str
        A TFRecord file, plain or gzipped, told by its first bytes.
    look : callable
        Gets the data of every record, and what messages call the record.

    Raises
    ------
    InputError
        If a checksum differs or the file is cut; the message names the record.
    """
    file = file_bytes(path)
    head = head_of(file, _HEADER.size)
    gzipped = head.startswith(b"\x1f\x8b\x08") and not begins_with_record(head)
    source: Bytes = InflatedBytes(file, GZIP) if gzipped else file
    offsets, lengths = array("q"), array("q")
    with source.opened() as read:
        for offset, data in _records(read, file):
            look(data, _where(file, len(offsets)))
            offsets.append(offset)
            lengths.append(len(data))
    return RecordFile(file, source, np.array(offsets, np.int64), np.array(lengths, np.int64))
