"""Labels: numbers, names or one-hot rows become class numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.values.rows import Rows, check_numbers

__all__ = ["Labels", "class_numbers", "labels_of"]


@dataclass(frozen=True)
class Labels:
    """Class numbers of all samples.

    Parameters
    ----------
    numbers : int64 array of shape (N,)
    names : tuple of str, optional
        Names of the classes, in the order of their numbers.
    """

    numbers: NDArray[np.int64]
    names: tuple[str, ...] | None = None

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Name to number; empty without names."""
        return {name: number for number, name in enumerate(self.names or ())}


def labels_of(values: NDArray[Any], where: str, classes: Sequence[str] | None = None) -> Labels:
    """Return class numbers for whole numbers, names (numbered in the order of their code points) or one-hot rows.

    Parameters
    ----------
    values : ndarray
    where : str
        What messages call them.
    classes : sequence of str, optional
        All class names; numbers count them, names are looked up in them.

    Raises
    ------
    InputError
        If a label is none of these; the message names the first.
    """
    check_numbers(values.dtype, where)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind in "SU":
        return _named(values, where, classes)
    numbers = _one_hot(values, where) if values.ndim == 2 else _whole(values, where)
    return Labels(numbers, _checked_names(numbers, where, classes))


def class_numbers(rows: Rows) -> NDArray[np.int64] | None:
    """Return the class numbers of an array that may be too large for memory; ``None`` if it holds other values."""
    numbers = np.empty(len(rows), np.int64)
    for start, block in rows.blocks():
        try:
            numbers[start : start + len(block)] = labels_of(block, rows.name).numbers
        except InputError:  # numbers that are no classes, not what `rows` may raise
            return None
    return numbers


def _named(values: NDArray[Any], where: str, classes: Sequence[str] | None) -> Labels:
    if values.ndim != 1:
        raise InputError(f"{where} has names of shape {values.shape}: give one per sample")
    try:
        text = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: a name is not UTF-8 ({error}): save names as text") from error
    found, numbers = np.unique(text, return_inverse=True)
    names = tuple(str(name) for name in found)
    known = {str(name): number for number, name in enumerate(names if classes is None else classes)}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise InputError(f"{where}: {unknown!r} is not one of classes={list(known)[:10]}; add it or mend it")
    return Labels(np.array([known[name] for name in names], np.int64)[numbers], tuple(known))


def _one_hot(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    good = ((values == 0) | (values == 1)).all(axis=1) & ((values == 1).sum(axis=1) == 1)
    if not good.all():
        row = int(np.argmin(good))
        raise InputError(f"{where}: row {row} is not one-hot ({values[row].tolist()!r:.80}): give one label per sample")
    numbers: NDArray[np.int64] = values.argmax(axis=1).astype(np.int64)
    return numbers


def _whole(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    if values.ndim != 1:
        raise InputError(f"{where} has shape {values.shape}: give (N,) labels or (N, classes) one-hot rows")
    if values.dtype.kind not in "biuf":
        raise InputError(f"{where} has dtype {values.dtype}: give whole numbers, names or one-hot rows")
    with np.errstate(invalid="ignore"):
        numbers: NDArray[np.int64] = values.astype(np.int64)
    wrong = np.flatnonzero(numbers != values)
    if wrong.size:
        row = int(wrong[0])
        raise InputError(f"{where}: label {row} is {values[row]}: give whole numbers below 2^63, names or one-hot rows")
    return numbers


def _checked_names(numbers: NDArray[np.int64], where: str, classes: Sequence[str] | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    names = tuple(classes)
    if len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"classes={list(names)[:10]} must be different strings")
    if numbers.size and not -1 <= numbers.min() <= numbers.max() < len(names):
        raise InputError(
            f"{where}: labels run from {numbers.min()} to {numbers.max()}, classes= has {len(names)} names; "
            "they are numbered from 0"
        )
    return names
