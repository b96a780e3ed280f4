"""What a column of labels is: class numbers, class names, fractions, or several labels per sample.

Texts, as in csv, that are all whole numbers (``3``, ``3.0``) are whole numbers, and one fraction makes them
fractions, which are no classes; all other texts are names. Arrays follow their dtype. Rows of 0 and 1 are one-hot if
each has exactly one 1, else they say which of several labels a sample has. A missing label (an empty text, NaN) is -1
among classes and NaN among fractions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.values.rows import Rows, check_numbers

__all__ = ["Labels", "are_class_names", "labels_of", "labels_of_texts", "one_hot_rows", "squeezed"]

_MISSING = ("", "nan")
_MOST_NAMES = 1000  # different texts, if they are more than half of all, that are names of classes
_LONGEST_NAME = 200
_LONGEST = 18  # digits that surely fit into 64 bits


@dataclass(frozen=True)
class Labels:
    """The labels of all samples.

    Parameters
    ----------
    numbers : ndarray
        int64 (N,): class numbers, -1 where one is missing; float64 (N,): fractions, NaN where one is missing;
        or (N, K): several labels per sample.
    names : tuple of str, optional
        Names of the classes, in the order of their numbers.
    """

    numbers: NDArray[Any]
    names: tuple[str, ...] | None = None

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Name to number; empty without names."""
        return {name: number for number, name in enumerate(self.names or ())}

    @property
    def kind(self) -> str:
        """The kind of the field that holds them."""
        if self.numbers.ndim > 1:
            return "array"
        return "class_label" if self.names is not None else "float" if self.numbers.dtype.kind == "f" else "int"


def squeezed(shape: tuple[int, ...], count: int | None = None) -> tuple[int, ...]:
    """Return the shape of labels without axes of length 1; (1, N) is (N,) where there are `count` = N samples."""
    if count is not None and len(shape) == 2 and shape[0] == 1 != count and shape[1] == count:
        return (count,)
    return (shape[0], *(n for n in shape[1:] if n != 1)) if shape else shape


def labels_of(
    values: NDArray[Any], where: str, classes: Sequence[str] | None = None, count: int | None = None
) -> Labels:
    """Return the labels in an array, by its dtype.

    Parameters
    ----------
    values : ndarray
        Of numbers or texts.
    where : str
        What messages call them.
    classes : sequence of str, optional
        All class names; whole numbers count them, names are looked up in them.
    count : int, optional
        The number of samples.

    Raises
    ------
    InputError
        If they are no labels; the message names the first that is wrong.
    """
    check_numbers(values.dtype, where)
    values = values.reshape(squeezed(values.shape, count))
    if values.dtype.kind in "SU":
        return _named(values, where, classes)
    if values.dtype.kind not in "biuf":
        raise InputError(f"{where} has dtype {values.dtype}: give whole numbers, fractions, names or one-hot rows")
    if values.ndim == 2:
        numbers = _one_hot(values)
        if numbers is None:
            return _several(values, where, classes)
        return Labels(numbers, _checked_names(numbers, where, classes))
    if values.ndim != 1:
        raise InputError(f"{where} has shape {values.shape}: give (N,) labels, or (N, classes) of 0 and 1")
    if values.dtype.kind == "f" and classes is None:
        return Labels(values.astype(np.float64))
    numbers = _whole(values, where)
    return Labels(numbers, _checked_names(numbers, where, classes))


def labels_of_texts(texts: Sequence[str], where: str, classes: Sequence[str] | None = None) -> Labels:
    """Return the labels in a column of texts; raises as `labels_of`."""
    cells = [text.strip() for text in texts]
    nul = next((i for i, cell in enumerate(cells) if "\0" in cell), None)
    if nul is not None:  # NumPy's strings would lose it, and two names become one
        raise InputError(f"{where}: label {nul} is {cells[nul]!r:.80}, which no text file holds: mend it")
    known = [cell for cell in cells if cell.lower() not in _MISSING]
    if not known or not all(map(_is_number, known)):
        return _named(np.array(cells, str), where, classes)
    if all(map(_is_whole, known)):
        numbers = np.array(
            [int(cell.partition(".")[0]) if cell.lower() not in _MISSING else -1 for cell in cells], np.int64
        )
        return Labels(numbers, _checked_names(numbers, where, classes))
    if classes is not None:
        first = next(i for i, cell in enumerate(cells) if cell.lower() not in _MISSING and not _is_whole(cell))
        raise InputError(
            f"{where}: label {first} is {cells[first]}: classes= names whole numbers, and this is a fraction"
        )
    return Labels(np.array([float(cell) if cell.lower() not in _MISSING else np.nan for cell in cells], np.float64))


def _is_number(text: str) -> bool:
    """Whether a text is a number as people type one; a zero before other digits makes it a name."""
    digits = text.removeprefix("-").removeprefix("+")
    if not digits.isascii() or "_" in digits or (digits[:1] == "0" and digits[1:2].isdigit()):
        return False
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _is_whole(text: str) -> bool:
    whole, _, rest = text.partition(".")
    return whole.removeprefix("-").removeprefix("+").isdecimal() and not rest.strip("0") and len(whole) <= _LONGEST


def _one_hot(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the class numbers of rows (N, K) that each have one 1 and else 0; ``None`` if some have not."""
    good = ((values == 0) | (values == 1)).all(axis=1) & ((values == 1).sum(axis=1) == 1)
    return values.argmax(axis=1).astype(np.int64) if good.all() else None


def are_class_names(texts: Sequence[str]) -> bool:
    """Whether texts can be names of classes: captions, and names of samples, are none."""
    longest = max(map(len, texts), default=0)
    return longest <= _LONGEST_NAME and len(set(texts)) <= max(_MOST_NAMES, len(texts) // 2)


def one_hot_rows(rows: Rows) -> NDArray[np.int64] | None:
    """Return `_one_hot` of an array that may be too large for memory."""
    numbers = np.empty(len(rows), np.int64)
    for start, block in rows.blocks():
        found = _one_hot(block.reshape(len(block), -1))
        if found is None:
            return None
        numbers[start : start + len(block)] = found
    return numbers


def _several(values: NDArray[Any], where: str, classes: Sequence[str] | None) -> Labels:
    if classes is not None:
        raise InputError(
            f"{where} says several labels per sample, shape {values.shape}, which are no class numbers: leave out "
            "classes="
        )
    wrong = np.flatnonzero(((values != 0) & (values != 1)).any(axis=1))
    if wrong.size:
        row = int(wrong[0])
        raise InputError(
            f"{where}: row {row} is neither one-hot nor of 0 and 1 ({values[row].tolist()!r:.80}): give one label per "
            "sample; or, to store the rows as they are, a dataset whose samples are dicts that hold them"
        )
    return Labels(values.astype(np.uint8))


def _named(values: NDArray[Any], where: str, classes: Sequence[str] | None) -> Labels:
    if values.ndim != 1:
        raise InputError(f"{where} has names of shape {values.shape}: give one per sample")
    try:
        text = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: a name is not UTF-8 ({error}): save names as text") from error
    found, numbers = np.unique(text, return_inverse=True)
    names = tuple(str(name) for name in found if str(name).lower() not in _MISSING)
    known = {str(name): number for number, name in enumerate(names if classes is None else classes)}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise InputError(f"{where}: {unknown!r} is not one of classes={list(known)[:10]}; add it or mend it")
    return Labels(np.array([known.get(str(name), -1) for name in found], np.int64)[numbers], tuple(known))


def _whole(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -1, values)
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
