"""Where values lie in a Parquet column chunk: its page headers, read without decoding a page.

A data page of an uncompressed, PLAIN byte-array column is a header (a struct
`PageHeader` in Thrift's compact protocol), definition levels, and for every
value its length (4 bytes, little-endian) and its bytes. Sources: the
``parquet-format`` specification and ``thrift-compact-protocol.md`` of Apache Thrift.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.base.errors import CorruptShardError

__all__ = ["chunk_ranges"]

_DATA_PAGE, _PLAIN = 0, 0


def chunk_ranges(data: memoryview, chunk: Any, nullable: bool) -> NDArray[np.int64]:
    """Return offsets and lengths (2, N) of the values of a column chunk.

    Parameters
    ----------
    data : memoryview
        The whole file.
    chunk : pyarrow.parquet.ColumnChunkMetaData
    nullable : bool
        Whether pages begin with definition levels.

    Raises
    ------
    CorruptShardError
        If a page is not an uncompressed PLAIN data page without nulls.
    """
    start, stop = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    if chunk.compression != "UNCOMPRESSED":
        raise CorruptShardError(f"it is compressed ({chunk.compression.lower()})")
    if not 4 <= start <= stop <= len(data):
        raise CorruptShardError(f"bytes {start} to {stop} are not in the file of {len(data)} bytes")
    return np.array(list(_value_ranges(data, start, stop, nullable)), np.int64).reshape(-1, 2).T


def _value_ranges(data: memoryview, start: int, stop: int, nullable: bool) -> Iterator[tuple[int, int]]:
    """Yield offset and length of every value of the pages from byte `start` to `stop`."""
    position = start
    while position < stop:
        thrift = _Thrift(data, position)
        header = thrift.struct()
        body, details = thrift.position, header.get(5, {})
        size, count = header.get(3, 0), details.get(1, 0)
        if header.get(1) != _DATA_PAGE or details.get(2) != _PLAIN or header.get(2) != size:
            raise CorruptShardError(f"the page at byte {position} is not an uncompressed PLAIN data page: {header}")
        end = body + size
        if end > stop:
            raise CorruptShardError(f"the page at byte {position} ends at byte {end}, its column at byte {stop}")
        value = body + 4 + _length(data, body) if nullable else body
        for _ in range(count):
            length = _length(data, value)
            if value + 4 + length > end:
                raise CorruptShardError(f"a value at byte {value} leaves its page, which ends at byte {end}")
            yield value + 4, length
            value += 4 + length
        if value != end:
            raise CorruptShardError(f"the page at byte {position} has {count} values and {end - value} bytes more")
        position = end


def _length(data: memoryview, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "little")


class _Thrift:
    """Reads values of Thrift's compact protocol, one after the other, from byte `position` on."""

    def __init__(self, data: memoryview, position: int) -> None:
        self._data, self.position = data, position

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise CorruptShardError(f"no number ends near byte {self.position}")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self) -> dict[int, Any]:
        """Read a struct: field number to value."""
        values: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            values[number] = self._value(head & 15)
        return values

    def _value(self, kind: int) -> Any:
        if kind in (1, 2):  # booleans are their own type
            return kind == 1
        if kind in (4, 5, 6):  # i16, i32, i64
            return self._zigzag()
        if kind == 8:  # bytes, as in the statistics of a page
            length = self._varint()
            self.position += length
            return None
        if kind == 12:
            return self.struct()
        raise CorruptShardError(f"a page header has a value of Thrift type {kind} at byte {self.position}")
