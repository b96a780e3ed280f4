"""Labels of arrays: in memory, in array files or in text files."""

import csv
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.arrays.files import open_rows
from shardwright.base.errors import InputError
from shardwright.base.storage.inflate import file_bytes
from shardwright.base.values.label_column import Labels, labels_of, labels_of_texts

__all__ = ["load_labels"]

_COLUMNS = ("label", "labels", "class", "target", "y")
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt")


def load_labels(
    labels: Any, *, member: str | None = None, classes: Sequence[str] | None = None, count: int | None = None
) -> Labels:
    """Return labels of any usual kind.

    Parameters
    ----------
    labels : array, sequence or path
        Whole numbers; names (numbered in the order of their code points); fractions, which stay such;
        one-hot rows; rows of 0 and 1 for several labels per sample. A path names an .npy, .npz, IDX or
        HDF5 file, or a text file (.csv, .tsv, .txt) of numbers or names: one per line, or in a
        column called label, labels, class, target or y.
    member : str, optional
        Which array of an .npz or HDF5 file.
    classes : sequence of str, optional
        All class names; numbers count them, names are looked up in them.
    count : int, optional
        The number of samples.

    Raises
    ------
    InputError
        If a label is none of these; the message names the first.
    """
    if not isinstance(labels, (str, os.PathLike)):
        return labels_of(_as_array(labels), "labels", classes, count)
    name = os.fsdecode(labels)
    if name.lower().endswith(_TEXT_SUFFIXES):
        return labels_of_texts(_read_text(name), file_bytes(name).shown, classes)
    rows = open_rows(name, member)
    return labels_of(rows.read(0, len(rows)), rows.name, classes, count)


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
