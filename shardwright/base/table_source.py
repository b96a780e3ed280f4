"""Samples in files that hold arrays, such as HDF5 and .npz: which arrays are fields, and where their values lie.

A technology says what arrays there are (`_table`). One with a value per sample is a
field; of the labels only their class numbers are kept, whatever they are stored as.
"""

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, InputError, ShardwrightError
from shardwright.base.fields import Field
from shardwright.base.file_source import FilesSource, array_of
from shardwright.base.source import Places
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.array_names import array_fields, may_hold_labels
from shardwright.base.values.class_lists import class_lists, names_in
from shardwright.base.values.infer import field_of_array, number_field
from shardwright.base.values.label_column import labels_of, one_hot_rows, squeezed
from shardwright.base.values.rows import MemoryRows, Rows, check_images

__all__ = ["ArrayTable", "TableSource"]

_OF_LABELS = (".npy", ".csv", ".tsv", ".txt", ".npz", ".h5", ".hdf5")
_MAX_LOADED = 2**30  # bytes of one array that is kept in memory: numbers, names


@dataclass(frozen=True, slots=True)
class ArrayTable:
    """The arrays of one file, or of several that belong together.

    Parameters
    ----------
    files : tuple of Path
        The file that was asked for is the first.
    arrays : mapping of str to Rows
        By name; an error instead of what cannot be read.
    class_names : mapping of str to tuple of str
        Of the arrays that have them.
    left_out : mapping of str to int
        As in `Places`.
    """

    files: tuple[Path, ...]
    arrays: Mapping[str, Rows | ShardwrightError]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


class TableSource(FilesSource):
    """The samples of one or several files that hold arrays.

    Parameters
    ----------
    paths : path or sequence of paths
        The files, in the order of their samples.

    Raises
    ------
    InputError, UnsafeDataError
        As `FilesSource`.
    ConfigError
        If the arrays have different lengths, and no names that tell which are the images.
    """

    def __init__(self, paths: Any) -> None:
        self._rows: dict[tuple[Path, str], Rows] = {}
        super().__init__(paths)
        self.threads = not any(part.elsewhere for part in self._parts)  # those are read block by block

    @abstractmethod
    def _table(self, path: Path) -> ArrayTable:
        """Return what arrays lie in the file, and in those beside it that belong to it."""

    def _look(self, path: Path) -> Places:
        table = self._table(path)
        found = _Columns(path, table)
        if found.label is not None and not self.labels_from:
            self.labels_from = _origin(table, found.label)
        self._rows |= {(table.files[0], name): rows for name, rows in found.elsewhere.items()}
        reasons = {name: rows.elsewhere or "padded text" for name, rows in found.elsewhere.items()}
        return Places(
            found.count,
            tuple(found.fields.values()),
            found.ranges,
            found.scalars,
            table.files,
            {**table.left_out, **found.left_out, **_unused_labels(table, found)},
            reasons,
        )

    def _read(self, part: Places, field: Field, row: int) -> Any:
        value: Any = self._rows[part.files[0], field.name].row(row)
        if field.kind == "text":
            return value.decode() if isinstance(value, bytes) else str(value)
        return array_of(field, value)

    def _look_at_all(self, files: Sequence[Path]) -> list[Places]:
        return _with_all_classes(super()._look_at_all(files))


class _Columns:
    """What the arrays of a table are as fields."""

    def __init__(self, path: Path, table: ArrayTable) -> None:
        self.fields: dict[str, Field] = {}
        self.ranges: dict[str, Ranges] = {}
        self.scalars: dict[str, NDArray[Any]] = {}
        self.elsewhere: dict[str, Rows] = {}
        self.left_out: dict[str, int] = {}
        self.label: str | None = None  # the array that holds the labels
        table, lists = _without_class_lists(table)
        self._path, self._class_names = path, table.class_names
        own = array_fields(list(table.arrays))
        self.count = _count(path, table, own)
        for name, found in table.arrays.items():
            try:
                self._add(name, own[name], found)
            except ShardwrightError as error:
                if own[name] in ("image", "label") or len(own) == 1:
                    raise
                reason = str(error).replace(f"{path.parent}{os.sep}", "")  # the same files elsewhere are the same
                self.left_out[f"{reason:.300}"] = self.count
        for name, of in lists.items():
            if own[of] not in self.fields or self.fields[own[of]].names is None:
                self.left_out[f"{name}: does not name all numbers of {of}"] = len(table.class_names[of])

    def _add(self, name: str, own: str, found: Rows | ShardwrightError) -> None:
        if isinstance(found, ShardwrightError):
            raise found
        if own == "label":
            self.label = name
            found = _squeezed(found, self.count)
        if len(found) != self.count:
            raise InputError(f"{found.name} has {len(found)} values for {self.count} samples: give one per sample")
        if self.count and 0 in found.shape[1:]:
            raise InputError(
                f"{found.name} has shape {found.shape}: its values have no bytes, there is nothing to read"
            )
        if own == "image":
            check_images(found)
        if own == "label" and self._add_labels(name, found):
            return
        if len(found.shape) > 1:
            self._add_array(own, found, name)
        elif found.dtype.kind in "SU":
            _check_text(found)
            self.fields[own], self.elsewhere[own] = Field(own, "text"), found
        else:
            self._add_numbers(own, _loaded(found), found.name, self._class_names.get(name))

    def _add_labels(self, name: str, rows: Rows) -> bool:
        """Add the labels as class numbers, if that is what they are."""
        if rows.dtype.kind in "SU":
            labels = labels_of(_loaded(rows), rows.name)
            self.fields["label"] = Field("label", "class_label", names=labels.names)
            self.scalars["label"] = labels.numbers
            return True
        if rows.dtype.kind not in "biuf" or len(rows.shape) > 2:
            return False
        numbers = _loaded(rows) if len(rows.shape) == 1 else one_hot_rows(rows)
        if numbers is not None:
            self._add_numbers("label", numbers, rows.name, self._class_names.get(name))
        return numbers is not None

    def _add_numbers(self, own: str, values: NDArray[Any], where: str, names: tuple[str, ...] | None) -> None:
        if names is not None and values.dtype.kind == "f":  # they name whole numbers
            values = labels_of(values, where, names).numbers
        self.fields[own], self.scalars[own] = number_field(own, values, where, names)

    def _add_array(self, own: str, rows: Rows, name: str) -> None:
        if rows.dtype.kind not in "biufc":
            raise InputError(f"{rows.name} holds {rows.dtype} values: give numbers")
        try:
            self.fields[own] = field_of_array(own, rows.shape, rows.dtype, rows.name)
        except ConfigError as error:
            raise ConfigError(f"{error}; {_say(self._path, name, 'layout=...')}") from error
        if rows.elsewhere:
            self.elsewhere[own] = rows
        else:
            file, offset = rows.place
            self.ranges[own] = Ranges.fixed(file, offset, len(rows), self.fields[own].nbytes)


def _origin(table: ArrayTable, name: str) -> str:
    """Return where labels were found, in words: a file of its own, or an array in one."""
    rows = table.arrays[name]
    own = [path.name for path in table.files[1:] if isinstance(rows, Rows) and rows.name.startswith(str(path))]
    return own[0] if own else f"array {name}"


def _unused_labels(table: ArrayTable, found: _Columns) -> dict[str, int]:
    """Return the files beside images without labels that could hold them."""
    path = table.files[0]
    if "label" in found.fields or "image" not in found.fields:
        return {}
    beside = sorted(other.name for other in path.parent.iterdir() if other not in table.files)
    names = [n for n in beside if n.lower().endswith(_OF_LABELS) and may_hold_labels(n)]
    return {f"{n} beside the images, not used: give ArraySource({path.name!r}, labels={n!r})": 1 for n in names[:5]}


def _without_class_lists(table: ArrayTable) -> tuple[ArrayTable, dict[str, str]]:
    """Return the table with its arrays of class names as such, and of which array each of them is."""
    lists: dict[str, str] = {}
    names: dict[str, tuple[str, ...]] = {}
    for name, of in class_lists(array_fields(list(table.arrays))).items():
        rows, numbers = table.arrays[name], table.arrays[of]
        if isinstance(rows, Rows) and isinstance(numbers, Rows) and numbers.dtype.kind in "biuf":
            found = names_in(rows.shape, rows.dtype, partial(_loaded, rows))
            if found is not None and of not in names and of not in table.class_names:
                lists[name], names[of] = of, found
    arrays = {name: rows for name, rows in table.arrays.items() if name not in lists}
    return replace(table, arrays=arrays, class_names={**table.class_names, **names}), lists


def _count(path: Path, table: ArrayTable, own: Mapping[str, str]) -> int:
    """Return the number of samples: the length of the images, else the one of all arrays."""
    arrays = {name: rows for name, rows in table.arrays.items() if isinstance(rows, Rows)}
    image = next((name for name, field_name in own.items() if field_name == "image"), None)
    if image in arrays:
        return len(arrays[image])
    if not arrays or image is not None:
        raise _first_error(table, image) or InputError(f"{path} holds no arrays")
    lengths = {len(rows) for rows in arrays.values() if len(rows.shape) > 1} or {len(rows) for rows in arrays.values()}
    if len(lengths) > 1:
        listed = ", ".join(f"{name!r} {rows.shape}" for name, rows in arrays.items())
        raise ConfigError(f"{path} holds several arrays of different lengths: {listed}; {_say(path, '...')}")
    return lengths.pop()


def _first_error(table: ArrayTable, image: str | None) -> ShardwrightError | None:
    """Return why the images cannot be read, or if it is not known which they are, why the first array cannot."""
    found = [table.arrays[image]] if image is not None else table.arrays.values()
    return next((error for error in found if isinstance(error, ShardwrightError)), None)


def _say(path: Path, member: str, *options: str) -> str:
    given = ", ".join([repr(str(path)), f"member={member!r}", *options]).replace("'...'", "...")
    return f"to convert one, say which: ArraySource({given})"


def _squeezed(rows: Rows, count: int) -> Rows:
    """Return labels without axes of length 1."""
    shape = squeezed(rows.shape, count)
    return rows if shape == rows.shape else MemoryRows(_loaded(rows).reshape(shape), rows.name)


def _loaded(rows: Rows) -> NDArray[Any]:
    if len(rows) * rows.row_bytes > _MAX_LOADED:
        raise InputError(f"{rows.name} has {len(rows)} values of {rows.row_bytes} bytes, too many to keep in memory")
    return rows.read(0, len(rows))


def _check_text(rows: Rows) -> None:
    try:
        for value in _loaded(rows).tolist():
            value.decode() if isinstance(value, bytes) else value.encode()
    except UnicodeError as error:
        raise InputError(f"{rows.name}: a text is not UTF-8 ({error}): save texts as UTF-8") from error


def _with_all_classes(parts: Sequence[Places]) -> list[Places]:
    """Return the files with one list of class names: each was given those of its own labels."""
    own = [next((f for f in part.fields if f.name == "label" and f.names), None) for part in parts]
    lists = [f.names or () for f in own if f is not None]
    if len(lists) < len(parts) or len(set(lists)) == 1:
        return list(parts)
    names = tuple(sorted(set().union(*lists)))
    return [_renamed(part, found.names or (), names) for part, found in zip(parts, own, strict=True) if found]


def _renamed(part: Places, old: Sequence[str], new: tuple[str, ...]) -> Places:
    numbers = np.array([*(new.index(name) for name in old), -1], np.int64)[part.scalars["label"]]
    fields = tuple(replace(f, names=new) if f.name == "label" else f for f in part.fields)
    return replace(part, fields=fields, scalars={**part.scalars, "label": numbers})
