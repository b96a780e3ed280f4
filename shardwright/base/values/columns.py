"""Columns: the values of one field for many samples, `Batch`, which holds one per field, and their check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field

__all__ = ["Batch", "ByteColumn", "Column", "check_columns"]


@dataclass(frozen=True, slots=True)
class ByteColumn:
    """Values of different sizes, one buffer each.

    Parameters
    ----------
    values : sequence of bytes or memoryview
    tags : sequence of (extension, mode), optional
        Of images: file extension and Pillow mode.
    warnings : sequence of str, optional
        Of images: `ImageInfo.warning` of each. They are counted where a column is made and stay
        behind when it is sent to another process.
    """

    values: Sequence[Any]
    tags: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> "ByteColumn":
        return ByteColumn(self.values[rows], self.tags[rows], self.warnings[rows])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each value, shape (N,)."""
        return np.fromiter(map(len, self.values), np.int64, len(self.values))

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(map(len, self.values))

    def joined(self, space: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return all values end to end, in `space` if it is large enough, and their N + 1 offsets in that."""
        offsets = np.zeros(len(self.values) + 1, dtype=np.int64)
        np.cumsum(self.lengths, out=offsets[1:])
        ends = offsets.tolist()
        data = np.empty(ends[-1], np.uint8) if space is None or len(space) < ends[-1] else space[: ends[-1]]
        for value, start, stop in zip(self.values, ends, ends[1:], strict=False):
            data[start:stop] = np.frombuffer(value, np.uint8)
        return data, offsets


Column = NDArray[Any] | ByteColumn


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples on their way to disk; ``batch["image"]`` is the column of a field.

    Parameters
    ----------
    indices : int64, shape (N,)
        Number of each sample in the input.
    columns : mapping of str to ndarray or ByteColumn
        Fixed-size fields have shape (N, ...), others are lists of bytes.
    """

    indices: NDArray[np.int64]
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def slice(self, start: int, stop: int) -> "Batch":
        """Return samples `start` to `stop`, without a copy."""
        return Batch(self.indices[start:stop], {k: c[start:stop] for k, c in self.columns.items()})


def check_columns(fields: Sequence[Field], columns: Mapping[str, Column], count: int) -> None:
    """Raise `ConfigError` unless a collate hook gave every field `count` values that can be stored as they are.

    NumPy and HDF5 would repeat one value for all samples, and cut 0.7 down to 0. An empty batch passes.
    """
    for f in fields if count else ():
        if f.name not in columns:
            raise _wrong(f, f"no column, only {', '.join(sorted(columns)) or 'none at all'}", "one")
        wrong = _fault(f, columns[f.name], count)
        if wrong is not None:
            raise _wrong(f, *wrong)


def _wrong(field: Field, found: str, wanted: str) -> ConfigError:
    return ConfigError(f"_custom_collate_fn gave field {field.name!r} {found}; it must give {wanted}")


def _fault(field: Field, column: Any, count: int) -> tuple[str, str] | None:
    """Return what a column is and what it must be, ``None`` if it is that."""
    if not field.is_fixed:
        if isinstance(column, ByteColumn) and len(column) == count:
            return None
        found = f"{len(column)} values" if isinstance(column, ByteColumn) else f"a {type(column).__name__}"
        return found, f"a ByteColumn of {count} values, one per sample"
    if not hasattr(column, "nbytes") or isinstance(column, ByteColumn):
        return f"a {type(column).__name__}", "an array"
    values, dtype, shape = np.asarray(column), np.dtype(field.dtype), (count, *(field.shape or ()))
    fits = values.dtype == dtype or (field.is_scalar and np.can_cast(values.dtype, dtype, "same_kind"))
    if fits and values.shape == shape:
        return None
    return f"an array of {values.dtype} {values.shape}", f"one of {dtype} {shape}, one row per sample"
