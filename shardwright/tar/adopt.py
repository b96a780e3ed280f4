"""Samples in tar files that other programs wrote: webdataset's layout, with GNU, PAX or USTAR headers.

Headers are read by `tarfile`, through a file object that refuses what no honest
header asks for: a forged one can neither make it read gigabytes nor go round
in circles. Nothing is extracted, and links are not followed.
"""

import io
import re
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError, UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.index_files import Found
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.found import each_value
from shardwright.tar.suffixes import fields_of

__all__ = ["adopt_tar"]

# webdataset's rules: a sample's key ends at the first dot of the base name, and such names are no samples.
_MEMBER = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_SPECIAL = re.compile(r"__[^/]*__($|/)")
_MAX_HEADER = 2**20  # bytes of the texts of one header: long names, PAX records
_MAX_DIGITS = 20
_MAX_SUFFIXES = 64


class _Headers(io.FileIO):
    """A file of which only small pieces are read, and nothing before its beginning."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER:
            raise UnsafeDataError(f"the header before byte {self.tell()} asks for {size} bytes of text: it is forged")
        return super().read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if position < 0:
            raise UnsafeDataError(f"the header before byte {self.tell()} leads to byte {position}: it is forged")
        return super().seek(position, whence)


def adopt_tar(path: Path) -> Found:
    """Find the samples of a tar file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it is cut, damaged or compressed, or its samples have nothing in common.
    UnsafeDataError
        If a header is forged.
    """
    left_out = Counter[str]()
    columns, count = _columns(path, left_out)
    fields, ranges, scalars = [], {}, {}
    samples_with = {suffix: column[:, 0] for suffix, column in columns.items()}
    for name, (kind, suffixes) in fields_of(samples_with, count, left_out).items():
        column = np.concatenate([columns[suffix] for suffix in suffixes])
        column = column[np.argsort(column[:, 0], kind="stable")]
        found = Ranges(path, column[:, 1].copy(), column[:, 2].copy())
        numbers = _numbers(found) if kind in ("class_label", "int") else None
        if numbers is None:
            ranges[name] = found
            fields.append(Field(name, "text" if kind in ("class_label", "int") else kind))
        else:
            scalars[name] = numbers
            fields.append(Field(name, "int" if numbers.min(initial=0) < -1 else kind))
    return Found(count, tuple(fields), ranges, scalars, (path,), left_out)


def _columns(path: Path, left_out: Counter[str]) -> tuple[dict[str, NDArray[np.int64]], int]:
    """Return (number of the sample, offset, length) of all members with a suffix, and the number of samples."""
    columns: dict[str, array[int]] = {}
    sample, key = -1, None
    for member, suffix, offset, length in _members(path, left_out):
        if member != key:
            sample, key = sample + 1, member
        column = columns.setdefault(suffix, array("q"))
        if column and column[-3] == sample:
            raise InputError(f"{path}: sample {key!r:.200} has two members .{suffix:.80}: pack it anew")
        if len(columns) > _MAX_SUFFIXES:
            raise InputError(f"{path}: more than {_MAX_SUFFIXES} kinds of members: these are no samples, convert them")
        column.extend((sample, offset, length))
    return {s: np.array(column, np.int64).reshape(-1, 3) for s, column in columns.items()}, sample + 1


def _members(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, str, int, int]]:
    """Yield key, suffix, offset and length of the members that belong to samples."""
    for entry in _entries(path):
        found = _MEMBER.fullmatch(entry.name)
        if entry.isdir():
            continue
        if not entry.isreg():
            left_out["not a regular file"] += 1
        elif entry.sparse is not None or entry.type == tarfile.GNUTYPE_SPARSE:
            raise InputError(f"{path}: member {entry.name!r:.200} is sparse: its bytes do not lie there, convert it")
        elif found is None or _SPECIAL.match(entry.name):
            left_out["no key and suffix in its name"] += 1
        else:
            yield found[1], found[2].lower(), entry.offset_data, entry.size


def _entries(path: Path) -> Iterator[tarfile.TarInfo]:
    """Yield all members, and see that nothing but zeros comes after them."""
    with _Headers(path) as file:
        if file.read(2) == b"\x1f\x8b":
            raise InputError(f"{path} is compressed, so no member lies in it as it is: unpack it with gunzip")
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            end = 0
            while (entry := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it keeps them all, typeshed does not know
                if entry.size < 0 or archive.offset <= end:
                    raise UnsafeDataError(f"{path}: the header at byte {entry.offset} leads backwards: it is forged")
                end = archive.offset
                yield entry
        file.seek(end)
        while block := file.read(_MAX_HEADER):
            if block.strip(b"\0"):
                raise InputError(
                    f"{path}: no header of a member at byte {end}, and not the end: the archive is damaged there, or "
                    "joined of several: copy it again, or pack it anew"
                )


def _numbers(ranges: Ranges) -> NDArray[np.int64] | None:
    """Return the values as whole numbers, if all are."""
    if ranges.lengths.max(initial=0) > _MAX_DIGITS:
        return None
    try:
        return np.fromiter(map(int, each_value(ranges)), np.int64, len(ranges.offsets))
    except (ValueError, OverflowError):
        return None
