"""webdataset's samples in tar and zip archives: members of one key are the fields of one sample."""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.file_source import FilesSource, value_of
from shardwright.base.images.probe import has_image_name
from shardwright.base.source import Places
from shardwright.base.storage.names import printable
from shardwright.base.storage.ranges import Ranges
from shardwright.tar.class_folders import is_left_out
from shardwright.tar.members import Members, inflated
from shardwright.tar.suffixes import fields_of, is_known, slot_of

__all__ = ["SamplesSource", "holds_samples"]

# webdataset's rules: a sample's key ends at the first dot of the base name, and such names are no samples.
_MEMBER = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_SPECIAL = re.compile(r"__[^/]*__($|/)")
_MAX_DIGITS = 20
_MAX_SUFFIXES = 64


def _parts(name: bytes) -> tuple[str, str] | None:
    """Return key and suffix of a member, ``None`` if it belongs to no sample."""
    text = name.decode("utf-8", "surrogateescape")
    found = _MEMBER.fullmatch(text)
    return None if found is None or _SPECIAL.match(text) else (found[1], found[2].lower())


def holds_samples(members: Members) -> bool:
    """Whether an archive holds samples of several members each, and not a folder of images.

    Images in several folders are classes, whatever else lies beside them, unless there are labels (``.cls``).
    """
    key, slots = None, set[tuple[str, str]]()
    together = labels = images = known = False
    folders = set[bytes]()
    for name in members.names():
        if any(map(is_left_out, name.split(b"/"))):
            continue
        images |= has_image_name(name)
        if has_image_name(name):
            folders.add(name.rpartition(b"/")[0])
        found = _parts(name)
        if found is None:
            continue
        if found[0] != key:
            key, slots = found[0], set()
        slots.add(slot_of(found[1]))
        together |= len(slots) > 1
        labels |= found[1] == "cls"
        known |= is_known(found[1])
    if together:
        return labels or len(folders) < 2
    return known and not images


@dataclass(frozen=True, slots=True)
class _Column:
    """The members of one field in one archive: which row each is, and where they lie."""

    members: Members
    rows: NDArray[np.int64]

    @property
    def places(self) -> NDArray[np.int64]:
        return self.members.columns(self.rows)

    def ranges(self) -> Ranges:
        offsets, stored, *_ = self.places
        return Ranges(self.members.path, offsets.copy(), stored.copy())

    def data(self) -> Iterator[bytes]:
        with self.members.path.open("rb") as file:
            for row in self.rows.tolist():
                offset, stored, size, deflated, crc = self.members.place(row)
                file.seek(offset)
                yield inflated(file.read(stored), size, deflated, crc, self.members.path, self.members.name(row))


class SamplesSource(FilesSource):
    """The samples of webdataset's archives, one archive after the other.

    Parameters
    ----------
    archives : sequence of Members
        What was listed of each.
    """

    format_name = "tar"

    def __init__(self, archives: Sequence[Members]) -> None:
        self._listed = {members.path: members for members in archives}
        # Of zips, whose members may be compressed and have a CRC-32: the places of a field's members.
        self._zipped: dict[tuple[Path, str], NDArray[np.int64]] = {}
        super().__init__([members.path for members in archives])
        self._listed = {}

    def _look(self, path: Path) -> Places:
        members = self._listed[path]
        left_out = Counter(members.odd)
        columns, count = _columns(members, left_out)
        fields: list[Field] = []
        ranges: dict[str, Ranges] = {}
        scalars: dict[str, NDArray[Any]] = {}
        elsewhere: dict[str, str] = {}
        samples_with = {suffix: column[:, 0] for suffix, column in columns.items()}
        for name, (kind, suffixes) in fields_of(samples_with, count, left_out).items():
            both = np.concatenate([columns[suffix] for suffix in suffixes])
            column = _Column(members, both[np.argsort(both[:, 0], kind="stable")][:, 1])
            numbers = _numbers(column) if kind in ("class_label", "int") else None
            if numbers is not None:
                scalars[name] = numbers
                fields.append(Field(name, "int" if numbers.min(initial=0) < -1 else kind))
                continue
            fields.append(Field(name, "text" if kind in ("class_label", "int") else kind))
            if members.is_zip:
                self._zipped[path, name] = column.places
            if column.places[3].any():
                elsewhere[name] = "compressed"
            else:
                ranges[name] = column.ranges()
        return Places(count, tuple(fields), ranges, scalars, (path,), left_out, elsewhere)

    def _value(self, part: Places, field: Field, row: int) -> Any:
        zipped = self._zipped.get((part.files[0], field.name))
        if zipped is None:
            return super()._value(part, field, row)
        offset, stored, size, deflated, crc = zipped[:, row].tolist()
        data = self._read_at(part.files[0], offset, stored)
        name = f"field {field.name!r} of {self._sample_name(part, row)}".encode()
        return value_of(field, inflated(data, size, bool(deflated), crc, part.files[0], name))


def _columns(members: Members, left_out: Counter[str]) -> tuple[dict[str, NDArray[np.int64]], int]:
    """Return (number of the sample, row) of all members with a suffix, and the number of samples."""
    columns: dict[str, array[int]] = {}
    sample, key = -1, None
    for row, name in enumerate(members.names()):
        found = _parts(name)
        if found is None:
            left_out["no key and suffix in its name"] += 1
            continue
        if found[0] != key:
            sample, key = sample + 1, found[0]
        column = columns.setdefault(found[1], array("q"))
        if column and column[-2] == sample:
            raise InputError(
                f"{members.path}: sample {key!r:.200} has two members .{found[1]:.80}: pack it anew ({printable(name)})"
            )
        if len(columns) > _MAX_SUFFIXES:
            raise InputError(f"{members.path}: more than {_MAX_SUFFIXES} kinds of members: these are no samples")
        column.extend((sample, row))
    return {s: np.array(column, np.int64).reshape(-1, 2) for s, column in columns.items()}, sample + 1


def _numbers(column: _Column) -> NDArray[np.int64] | None:
    """Return the values as whole numbers, if all are."""
    if column.places[2].max(initial=0) > _MAX_DIGITS:
        return None
    try:
        return np.fromiter(map(int, column.data()), np.int64, len(column.rows))
    except (ValueError, OverflowError):
        return None
