"""Labels of arrays: numbers, names or one-hot rows become class numbers."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.arrays.files import open_rows
from shardwright.arrays.rows import check_numbers
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.storage.inflate import file_bytes

__all__ = ["Labels", "load_labels"]

_COLUMNS = ("label", "labels", "class", "target", "y")
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt")


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


def load_labels(labels: Any, *, member: str | None = None, classes: Sequence[str] | None = None) -> Labels:
    """Return class numbers for labels of any usual kind.

    Parameters
    ----------
    labels : array, sequence or path
        Whole numbers; names (numbered in the order of their code points);
        one-hot rows. A path names an .npy, .npz, IDX or HDF5 file, or a text
        file (.csv, .tsv, .txt) of numbers or names: one per line, or in a
        column called label, labels, class, target or y.
    member : str, optional
        Which array of an .npz or HDF5 file.
    classes : sequence of str, optional
        All class names; numbers count them, names are looked up in them.

    Raises
    ------
    InputError
        If a label is none of these; the message names the first.
    """
    values, where = _values(labels, member)
    check_numbers(values.dtype, where)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind in "SU":
        return _named(values, where, classes)
    numbers = _one_hot(values, where) if values.ndim == 2 else _whole(values, where)
    return Labels(numbers, _checked_names(numbers, where, classes))


def _values(labels: Any, member: str | None) -> tuple[NDArray[Any], str]:
    if not isinstance(labels, (str, os.PathLike)):
        return _as_array(labels), "labels"
    name = os.fsdecode(labels)
    if name.lower().endswith(_TEXT_SUFFIXES):
        texts = _read_text(name)
        numbers = bool(texts) and all(map(_is_whole, texts))  # in a text file all is text
        return np.array(texts, dtype=np.int64 if numbers else str), file_bytes(name).shown
    rows = open_rows(name, member)
    return rows.read(0, len(rows)), rows.name


def _as_array(labels: Any) -> NDArray[Any]:
    """Return labels in memory as an array; a list of names stays one of names."""
    if hasattr(labels, "detach"):  # a tensor, which may want gradients or lie on a device
        labels = labels.detach().cpu().numpy()
    try:
        values = np.asarray(labels)
    except ValueError as error:
        raise InputError(f"labels are of different lengths ({error}): give one per sample") from error
    if values.dtype == object and all(isinstance(value, str) for value in values.flat):
        return values.astype(str)
    given = labels if isinstance(labels, (list, tuple)) else ()
    if values.dtype.kind in "SU" and not all(isinstance(value, (str, bytes)) for value in given):
        raise InputError("labels mix names and numbers: give one or the other")
    return values


def _read_text(path: str) -> list[str]:
    shown = file_bytes(path).shown
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if path.lower().endswith(".tsv") else ","
            rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{shown} is no text of labels ({error}): save it as UTF-8") from error
    if not rows:
        raise InputError(f"{shown} is empty: write one label per line")
    head = [cell.strip().lower() for cell in rows[0]]
    found = [head.index(name) for name in _COLUMNS if name in head]
    if not found and len(head) > 1:
        raise InputError(f"{shown} has the columns {rows[0]}: call the one with the labels 'label'")
    column, lines = (found[0], rows[1:]) if found else (0, rows)
    for number, row in enumerate(lines, 1 + len(rows) - len(lines)):
        if len(row) != len(head):
            raise InputError(f"{shown}: row {number} has {len(row)} columns, the first has {len(head)}")
    return [row[column].strip() for row in lines]


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


def _is_whole(name: str) -> bool:
    """Tell whether a name is a number as text files have them."""
    return name.isascii() and name.removeprefix("-").isdecimal() and len(name) < 19


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
