"""Where values lie in a Parquet column chunk: its page headers, read without decoding a page.

A data page of an uncompressed, PLAIN byte-array column is a header (a struct
`PageHeader` in Thrift's compact protocol), definition levels, and for every
value its length (4 bytes, little-endian) and its bytes. Sources: the
``parquet-format`` specification and ``thrift-compact-protocol.md`` of Apache Thrift.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError, LimitError

__all__ = ["MAX_PAGE", "NotPlainError", "Pages", "check_footer", "check_pages", "check_plain", "chunk_ranges"]

_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_2 = 0, 2, 3
_PLAIN, _DELTA_BYTE_ARRAY = 0, 7
_CODECS = range(8)
MAX_PAGE = 2**28  # bytes that a compressed page may inflate to


class NotPlainError(CorruptShardError):
    """A page is compressed or encoded, so that no value lies in it as it is."""


@dataclass(slots=True)
class Pages:
    """What the headers of the pages of a column chunk say.

    Parameters
    ----------
    values : int
        In all data pages, missing ones and the ends of lists included.
    nbytes : int
        What all pages inflate to.
    repeated : int
        Bytes of the largest page whose values can come out more often than they lie there.
    """

    values: int = 0
    nbytes: int = 0
    repeated: int = 0


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
    if chunk.compression != "UNCOMPRESSED":
        raise NotPlainError(f"it is compressed ({chunk.compression.lower()})")
    start, stop = _bounds(data, chunk)
    return np.array(list(_value_ranges(data, start, stop, nullable)), np.int64).reshape(-1, 2).T


def _value_ranges(data: memoryview, start: int, stop: int, nullable: bool) -> Iterator[tuple[int, int]]:
    """Yield offset and length of every value of the pages from byte `start` to `stop`."""
    for position, body, end, count in _plain_pages(data, start, stop):
        value = body + 4 + _length(data, body) if nullable else body
        for _ in range(count):
            length = _length(data, value)
            if value + 4 + length > end:
                raise CorruptShardError(f"a value at byte {value} leaves its page, which ends at byte {end}")
            yield value + 4, length
            value += 4 + length
        if value != end:
            raise CorruptShardError(f"the page at byte {position} has {count} values and {end - value} bytes more")


def check_plain(data: memoryview, chunk: Any, width: int) -> None:
    """Raise `CorruptShardError` unless a column chunk of numbers has all its values in the file, `width` bytes each."""
    start, stop = _bounds(data, chunk)
    found = 0
    for position, body, end, count in _plain_pages(data, start, stop):
        if count * width > end - body:
            raise CorruptShardError(f"the page at byte {position} has no room for {count} values")
        found += count
    if found != chunk.num_values:
        raise CorruptShardError(f"a column of {chunk.num_values} values has {found} in its pages")


def check_footer(data: memoryview) -> None:
    """Raise `CorruptShardError` if the footer names types or codecs that cannot be: pyarrow, asked for them, aborts."""
    end = len(data) - 8
    footer = _Thrift(data, end - int.from_bytes(data[end : end + 4], "little")).struct()
    types = [element[1] for element in footer.get(2, ()) if 1 in element]
    for number, group in enumerate(footer.get(4, ())):
        chunks = [chunk.get(3, {}) for chunk in group.get(1, ())]
        if [chunk.get(1) for chunk in chunks] != types or any(chunk.get(4) not in _CODECS for chunk in chunks):
            raise CorruptShardError(f"its footer gives row group {number} columns of a type or codec that cannot be")


def check_pages(data: memoryview, chunk: Any) -> Pages:
    """Return what a column chunk becomes, however it is stored.

    Raises
    ------
    LimitError
        If a page inflates to more than `MAX_PAGE` bytes.
    """
    found = Pages()
    for position, _, _, header in _pages(data, *_bounds(data, chunk)):
        kind, size = header.get(1, -1), header.get(2, 0)
        if size > MAX_PAGE:
            raise LimitError(
                f"the page at byte {position} inflates to {size} bytes, more than {MAX_PAGE}: write smaller pages"
            )
        details = header.get({_DATA_PAGE: 5, _DATA_PAGE_2: 8}.get(kind, -1), {})
        encoding = details.get(4 if kind == _DATA_PAGE_2 else 2)
        found.values += max(0, details.get(1, 0))
        found.nbytes += max(0, size)
        if kind == _DICTIONARY_PAGE or encoding == _DELTA_BYTE_ARRAY:
            found.repeated = max(found.repeated, size)
    return found


def _bounds(data: memoryview, chunk: Any) -> tuple[int, int]:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page:
        start = min(start, chunk.dictionary_page_offset)
    stop = start + chunk.total_compressed_size
    if not 4 <= start <= stop <= len(data):
        raise CorruptShardError(f"bytes {start} to {stop} are not in the file of {len(data)} bytes")
    return start, stop


def _plain_pages(data: memoryview, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield of every page where it begins, where its values begin and end, and how many there are."""
    for position, body, end, header in _pages(data, start, stop):
        details = header.get(5, {})
        if header.get(1) != _DATA_PAGE or details.get(2) != _PLAIN or header.get(2) != header.get(3):
            raise NotPlainError(f"the page at byte {position} is not an uncompressed PLAIN data page: {header}")
        yield position, body, end, details.get(1, 0)


def _pages(data: memoryview, start: int, stop: int) -> Iterator[tuple[int, int, int, dict[int, Any]]]:
    """Yield of every page where it begins, where its values begin and end, and its header."""
    position = start
    while position < stop:
        thrift = _Thrift(data, position)
        header = thrift.struct()
        end = thrift.position + header.get(3, 0)
        if not position < end <= stop:
            raise CorruptShardError(f"the page at byte {position} ends at byte {end}, its column at byte {stop}")
        yield position, thrift.position, end, header
        position = end


def _length(data: memoryview, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "little")


_LEFT_OUT = {3: 1, 7: 8, 8: 0}  # i8, double, and bytes (as in statistics), which give their length: of no use here


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
        if kind in _LEFT_OUT:
            length = _LEFT_OUT[kind] or self._varint()  # moves the position, too
            self.position += length
            return None
        if kind in (9, 10):
            return self._list()
        if kind == 12:
            return self.struct()
        raise CorruptShardError(f"a header has a value of Thrift type {kind} at byte {self.position}")

    def _list(self) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if count > len(self._data):
            raise CorruptShardError(f"a list near byte {self.position} is longer than the file")
        kind = head & 15
        return [self._byte() if kind in (1, 2) else self._value(kind) for _ in range(count)]
