"""Read splits of tar files."""

import struct
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from shardwright.base.errors import CorruptShardError
from shardwright.base.fields import Field
from shardwright.base.reader import Reader
from shardwright.base.storage.files import mapped
from shardwright.base.storage.ranges import Ranges

__all__ = ["TarReader", "field_of", "members"]

BLOCK = 512
_HEADER = struct.Struct("100s24x11s21x1s100x6s")  # name, size, kind of file, magic


class TarReader(Reader):
    """A split of tar files; see `Reader`.

    Examples
    --------
    >>> reader = TarReader("out")  # doctest: +SKIP
    >>> image, label = reader[0]  # doctest: +SKIP
    """

    format_name = "tar"

    @staticmethod
    def _read_scalars(path: Path, fields: tuple[Field, ...]) -> Mapping[str, np.ndarray]:
        found: dict[str, list[float]] = {f.name: [] for f in fields if f.is_scalar}
        with mapped(path) as data:
            for name, offset, length in members(path):
                field = field_of(name, fields)
                if field.is_scalar:
                    read = float if field.kind == "float" else int
                    found[field.name].append(read(bytes(data[offset : offset + length])))
        return {f.name: np.array(found[f.name], f.dtype) for f in fields if f.is_scalar}

    @staticmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        found = {f.name: array("q") for f in fields}
        of_suffix: dict[str, array[int]] = {}  # there are few, so most members need no search among the fields
        for name, offset, length in members(path):
            suffix = name.partition(".")[2]
            if suffix not in of_suffix:
                of_suffix[suffix] = found[field_of(name, fields).name]
            of_suffix[suffix].extend((offset, length))
        parts = {name: np.array(places, np.int64).reshape(-1, 2).T for name, places in found.items()}
        return {f.name: Ranges.joined(path, [parts[f.name]]) for f in fields if not f.is_scalar}


def members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and length (bytes) of the members of a tar file that this library wrote.

    Raises
    ------
    CorruptShardError
        If a header is not a plain USTAR one, or the file ends too early.
    """
    unpack = _HEADER.unpack_from
    with mapped(path) as data:
        position, last = 0, len(data) - BLOCK
        while position <= last and data[position]:
            name, size, kind, magic = unpack(data, position)
            if magic != b"ustar\0" or kind != b"0":
                raise CorruptShardError(f"{path}: no USTAR header of a file at byte {position}")
            length = int(size, 8)
            position += BLOCK
            yield name.rstrip(b"\0").decode("ascii"), position, length
            position += length + -length % BLOCK
        if position > last:
            raise CorruptShardError(f"{path}: ends at byte {len(data)} without the zeros that end a tar")


def field_of(name: str, fields: tuple[Field, ...]) -> Field:
    """Return the field that the member `name` holds: ``000000007.cls``, ``000000007.mask.png``, ..."""
    extension = name.partition(".")[2]
    prefix = extension.partition(".")[0]
    wanted = {"cls": "label"}.get(extension, prefix if "." in extension else "image")
    for field in fields:
        if field.name == wanted:
            return field
    raise CorruptShardError(f"tar member {name!r} belongs to none of the fields {[f.name for f in fields]}")
