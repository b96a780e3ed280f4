"""Where the messages of an Arrow file lie, and how much memory they ask for, read before one is built.

pyarrow inflates all columns of a compressed batch at once, to the sizes that the
file itself says; sixty kilobytes can ask for gigabytes. A header is a FlatBuffers
table, of which a few fields are needed. Sources: ``Message.fbs`` and ``File.fbs``
of Apache Arrow, and ``Internals`` of the FlatBuffers documentation.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from shardwright.base.errors import LimitError

__all__ = ["MAX_INFLATED", "Message", "check_inflated", "messages"]

MAX_INFLATED = 2**30  # bytes, of a batch with all dictionaries
MOST_TIMES = 16  # all batches may become so many times as large as the file is
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_MAGIC, _NOT_COMPRESSED = b"ARROW1", -1


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a file or stream.

    Parameters
    ----------
    kind : {"schema", "dictionary", "record batch"}
    start, stop : int
        Its bytes in the file, header and body.
    content : pyarrow.Message
    """

    kind: str
    start: int
    stop: int
    content: Any


def check_inflated(path: Path, whole: Any) -> None:
    """Raise unless the batches of a file or stream inflate to at most `MAX_INFLATED` bytes each.

    Parameters
    ----------
    path : Path
        For messages.
    whole : pyarrow.Buffer
        All its bytes, which pyarrow could already open.

    Raises
    ------
    LimitError
        If they would become larger, or all together much larger than the file.
    """
    dictionaries = total = 0
    for message in messages(whole):
        size = _inflated(message.content.metadata, message.content.body)
        total += size
        if message.kind == "dictionary":  # kept for all batches
            dictionaries, size = dictionaries + size, 0
        if dictionaries + size > MAX_INFLATED or total > max(MAX_INFLATED, MOST_TIMES * whole.size):
            raise LimitError(
                f"{path} is compressed, and a batch inflates to more than {MAX_INFLATED} bytes, or all to more than "
                f"{MOST_TIMES} times the file: write it without compression, or in smaller batches"
            )


def messages(whole: Any) -> Iterator[Message]:
    """Yield the messages of a stream, or of a file those that its footer names."""
    if whole.slice(0, len(_MAGIC)).to_pybytes() == _MAGIC:
        yield from _messages_of_file(whole)
        return
    file = pa.BufferReader(whole)
    reader, start = pa.ipc.MessageReader.open_stream(file), 0
    for content in reader:
        yield Message(content.type, start, file.tell(), content)
        start = file.tell()


def _messages_of_file(whole: Any) -> Iterator[Message]:
    data = memoryview(whole)
    end = len(data) - len(_MAGIC) - 4
    footer = data[end - struct.unpack_from("<i", data, end)[0] : end]
    for number in (2, 3):  # dictionaries, record batches
        for start, header, body in _vector(footer, _root(footer), number, struct.Struct("<qixxxxq")):
            content = pa.ipc.read_message(whole.slice(start))
            yield Message(content.type, start, start + header + body, content)


def _inflated(header: Any, body: Any) -> int:
    """Return the bytes that the compressed buffers of a message become."""
    data, content = memoryview(header), memoryview(body) if body is not None else memoryview(b"")
    message = _root(data)
    kind, batch = _field(data, message, 1), _table(data, message, 2)
    if kind and data[kind] == _DICTIONARY_BATCH and batch:
        batch = _table(data, batch, 1)
    elif not kind or data[kind] != _RECORD_BATCH:
        return 0
    if not batch or not _field(data, batch, 3):
        return 0
    buffers = _vector(data, batch, 2, struct.Struct("<qq"))
    sizes = (struct.unpack_from("<q", content, offset)[0] for offset, length in buffers if length >= 8)
    return sum(size for size in sizes if size != _NOT_COMPRESSED)


# A table begins with the distance back to its list of fields: the bytes of the list, of the
# table, and for every field its distance from the table's begin, 0 where it is left out.


def _root(data: memoryview) -> int:
    return int(struct.unpack_from("<I", data)[0])


def _field(data: memoryview, table: int, number: int) -> int:
    """Return where a field of a table lies, 0 if it has none."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", data, fields)[0]:
        return 0
    distance = struct.unpack_from("<H", data, fields + 4 + 2 * number)[0]
    return table + distance if distance else 0


def _table(data: memoryview, table: int, number: int) -> int:
    """Return where the table (or vector) lies that a field points to, 0 if there is none."""
    place = _field(data, table, number)
    return place + struct.unpack_from("<I", data, place)[0] if place else 0


def _vector(data: memoryview, table: int, number: int, item: struct.Struct) -> Iterator[tuple[int, ...]]:
    """Yield the items of a vector of structs."""
    place = _table(data, table, number)
    count = struct.unpack_from("<I", data, place)[0] if place else 0
    yield from item.iter_unpack(data[place + 4 : place + 4 + count * item.size])
