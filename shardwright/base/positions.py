"""Which samples are meant: indices, arrays of bool, slices and predicates as positions."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError

__all__ = ["as_positions", "chosen_samples"]

_BATCH = 1024  # samples that a predicate's columns are read for at a time


def as_positions(indices: Any, length: int, name: str) -> NDArray[np.int64]:
    """Return indices, of which negative ones count from the end, as positions from 0 to `length`.

    Raises
    ------
    TypeError
        If they are not whole numbers.
    IndexError
        If one is out of range.
    """
    positions = np.asarray(indices)
    if positions.dtype.kind not in "iu" or positions.ndim != 1:
        if positions.size:
            raise TypeError(f"{name} indices are whole numbers, not {indices!r:.80}")
        positions = positions.astype(np.int64).reshape(-1)
    bad = (positions >= length) | (positions < -length)
    if bad.any():
        raise IndexError(f"index {positions[bad][0]} is out of range for a split of {length} samples")
    positions = positions.astype(np.int64, copy=False)
    return np.where(positions < 0, positions + length, positions)


def chosen_samples(dataset: Any, which: Any, columns: Sequence[str]) -> Any:
    """Return the indices of the samples that `select` is asked for.

    Parameters
    ----------
    dataset : Reader, Selection or Concat
    which, columns
        As for `select`.

    Raises
    ------
    ConfigError
        If a column is unknown, or an array of bool has another length.
    """
    if callable(which):
        which = np.fromiter(_wanted(dataset, which, columns), bool, len(dataset))
    elif columns:
        raise ConfigError(f"columns={list(columns)!r} are read for a callable; leave them out with indices")
    if isinstance(which, slice):
        return np.arange(len(dataset))[which]
    which = np.asarray(which)
    if which.dtype == bool:
        if which.shape != (len(dataset),):
            raise ConfigError(f"an array of bool has one value per sample: {len(dataset)}, not {which.shape}")
        which = np.flatnonzero(which)
    return which


def _wanted(dataset: Any, predicate: Callable[[dict[str, Any]], Any], columns: Sequence[str]) -> Iterator[bool]:
    fields = {f.name: f for f in dataset.fields}
    for name in columns:
        if name not in fields:
            raise ConfigError(f"columns={list(columns)!r}: there is no {name!r}; choose from {', '.join(fields)}")
    scalars = {name: dataset.scalars(name) for name, f in fields.items() if f.is_scalar}
    for start in range(0, len(dataset), _BATCH):
        stop = min(start + _BATCH, len(dataset))
        read = dataset.read_values(range(start, stop), columns) if columns else {}
        batch = {name: values[start:stop].tolist() for name, values in scalars.items()} | read
        for row in range(stop - start):
            yield bool(predicate({name: values[row] for name, values in batch.items()}))
