"""Strings of any length in HDF5 files, read without HDF5: in a damaged heap it may go round in circles.

A dataset holds a reference per string: its length, and a collection in the file's global heap
with the number of an object in it. Format: HDF5 File Format Specification, III.E "Global Heap".
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from shardwright.base.errors import InputError, LimitError
from shardwright.base.storage.inflate import FileBytes, head_of
from shardwright.hdf5.datasets import GZIP, filters_of

__all__ = ["MAX_TEXT", "read_attribute", "read_strings"]

MAX_HEADER = 2**26  # bytes of one block of an object header
MAX_TEXT = 2**28  # bytes of all strings of a dataset
_SHUFFLE = 2
_REFERENCE = struct.Struct("<IQI")  # length, address of the collection, number in it
_OBJECT = struct.Struct("<HH4xQ")  # number, references, size
_MESSAGE = struct.Struct("<HHB3x")  # type, size, flags
_ATTRIBUTE = struct.Struct("<BBHHH")  # version, flags, sizes of name, datatype and dataspace
_CONTINUATION, _OF_ATTRIBUTE, _MOST_BLOCKS = 0x10, 0x0C, 1000
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size


def read_strings(file: FileBytes, dataset: Any, name: str) -> list[bytes]:
    """Return all strings of a dataset of one axis.

    Raises
    ------
    InputError
        If the file is damaged, or it is stored in a way that is not read here.
    LimitError
        If they are very many, or very long.
    """
    if len(dataset) * _REFERENCE.size > MAX_TEXT:
        raise LimitError(f"{name} holds {len(dataset)} strings, too many: write numbers")
    return _strings(file, dataset, _references(file, dataset, name), name)


def _strings(file: FileBytes, dataset: Any, references: bytes, name: str) -> list[bytes]:
    """Return what references to the heap of a dataset's file say."""
    start = dataset.file.userblock_size  # which addresses do not count
    heap: dict[int, dict[int, bytes]] = {}
    strings: list[bytes] = []
    total = 0
    for length, address, number in _REFERENCE.iter_unpack(references):
        if length and address not in heap:
            heap[address] = _collection(file, start + address, name)
        found = heap[address].get(number, b"") if length else b""
        if len(found) < length:
            raise _damaged(name, f"string {len(strings)} is not in its heap")
        total += length
        if total > MAX_TEXT:
            raise LimitError(f"{name} holds more than {MAX_TEXT} bytes of strings: write them shorter")
        strings.append(found[:length])
    return strings


def _damaged(name: str, what: str) -> InputError:
    return InputError(f"{name} is cut or damaged ({what}): make or copy it again")


def _references(file: FileBytes, dataset: Any, name: str) -> bytes:
    """Return the stored references; for each string one."""
    size = len(dataset) * _REFERENCE.size
    if dataset.file.id.get_create_plist().get_sizes() != (8, 8):
        raise InputError(f"{name} holds strings in a file of small addresses: write strings of one length, dtype 'S'")
    if dataset.chunks is not None:
        return b"".join(_chunk(dataset, row, name) for row in range(0, len(dataset), dataset.chunks[0]))[:size]
    offset = dataset.id.get_offset()
    if size and offset is None:
        raise InputError(f"{name} was never written to the end: make it again")
    stored = head_of(file.part(offset or 0, size), size) if (offset or 0) + size <= file.size else b""
    if len(stored) != size:
        raise _damaged(name, "its references end too early")
    return stored


def _chunk(dataset: Any, row: int, name: str) -> bytes:
    """Return the references of one chunk, its filters undone."""
    size = math.prod(dataset.chunks) * _REFERENCE.size
    mask, data = dataset.id.read_direct_chunk((row,))
    for place, code in reversed(list(enumerate(filters_of(dataset)))):
        if mask >> place & 1:
            continue
        if code == GZIP:
            data = _inflated(data, size, name)
        elif code == _SHUFFLE:
            data = np.frombuffer(data[:size], np.uint8).reshape(_REFERENCE.size, -1).T.tobytes()
        else:
            raise InputError(f"{name} holds strings behind the HDF5 filter {code}: write them with gzip or none")
    if len(data) != size:
        raise _damaged(name, f"chunk {row} has {len(data)} bytes, not {size}")
    return bytes(data)


def _inflated(data: bytes, size: int, name: str) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise _damaged(name, str(error)) from error


def read_attribute(file: FileBytes, dataset: Any, key: str, count: int, name: str) -> list[bytes] | None:
    """Return the strings of any length of a dataset's attribute of one axis; ``None`` where they are not found.

    They are looked for in the old kind of object headers, which h5py writes unless it is told otherwise.
    Format: HDF5 File Format Specification, IV.A "Object Headers", IV.A.2.m "The Attribute Message".
    """
    if dataset.file.id.get_create_plist().get_sizes() != (8, 8):
        return None
    wanted, size = key.encode(), count * _REFERENCE.size
    for kind, flags, data in _messages(file, dataset):
        if kind != _OF_ATTRIBUTE or flags & 2 or len(data) < _ATTRIBUTE.size:  # a shared one lies elsewhere
            continue
        version, _, length, *sizes = _ATTRIBUTE.unpack_from(data)
        start = _ATTRIBUTE.size + (version == 3)  # the character set
        if data[start : start + length].rstrip(b"\0") != wanted:
            continue
        step = 8 if version == 1 else 1  # what the parts are filled up to
        start += sum(-(-part // step) * step for part in (length, *sizes))
        return _strings(file, dataset, data[start : start + size], name) if len(data) - start >= size else None
    return None


def _messages(file: FileBytes, dataset: Any) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags and data of the messages of a dataset's object header, if it is of the old kind."""
    start = dataset.file.userblock_size
    place = start + h5py.h5o.get_info(dataset.id).addr
    head = _bytes_at(file, place, 16)
    blocks = [(place + 16, int.from_bytes(head[8:12], "little"))] if head[:1] == b"\1" else []
    for number in range(_MOST_BLOCKS):
        if number >= len(blocks):
            return
        data, at = _bytes_at(file, *blocks[number]), 0
        while at + _MESSAGE.size <= len(data):
            kind, size, flags = _MESSAGE.unpack_from(data, at)
            found = data[at + _MESSAGE.size : at + _MESSAGE.size + size]
            if kind == _CONTINUATION and len(found) >= 16:
                address, length = struct.unpack_from("<QQ", found)
                blocks.append((start + address, length))
            yield kind, flags, found
            at += _MESSAGE.size + size


def _bytes_at(file: FileBytes, start: int, size: int) -> bytes:
    return head_of(file.part(start, size), size) if size <= MAX_HEADER and _ends(file, start, size) else b""


def _collection(file: FileBytes, address: int, name: str) -> dict[int, bytes]:
    """Return the objects of a collection of the heap by number."""
    head = head_of(file.part(address, _COLLECTION.size), _COLLECTION.size) if _ends(file, address, 16) else bytes(16)
    signature, version, size = _COLLECTION.unpack(head)
    if signature != b"GCOL" or version != 1 or not _ends(file, address, size):
        raise _damaged(name, f"no heap at byte {address}")
    data, objects, place = head_of(file.part(address, size), size), {}, _COLLECTION.size
    while place + _OBJECT.size <= len(data):
        number, _, length = _OBJECT.unpack_from(data, place)
        if number == 0:  # what is free
            break
        place += _OBJECT.size
        objects[number] = data[place : place + length]
        place += -(-length // 8) * 8
    return objects


def _ends(file: FileBytes, start: int, size: int) -> bool:
    """Whether some bytes lie within the file."""
    return start + size <= file.size
