"""What a collate hook gave, which may be anybody's: one value per sample, of the right type, for every field."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.values.pack import ByteColumn, Column

__all__ = ["check_columns"]


def check_columns(fields: Sequence[Field], columns: Mapping[str, Column], count: int) -> None:
    """Raise unless every field has a column of `count` values that can be stored as they are; of none, none is needed.

    NumPy and HDF5 would repeat one value for all samples, and cut 0.7 down to 0.

    Raises
    ------
    ConfigError
        If not; the message says what is wrong with which field.
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
