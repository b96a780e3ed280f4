"""Tables of labels: csv, tsv and jsonl files, and which of their columns name the images and the labels."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import ConfigError, InputError, LimitError
from shardwright.base.values.label_column import Labels, labels_of, labels_of_texts

__all__ = ["SUFFIXES", "LabelTable", "choose_columns", "label_column", "read_table"]

SUFFIXES = (".csv", ".tsv", ".jsonl")
_MAX_BYTES = 2**30
# What tables call the images and the labels; the first that is there counts.
_FILES = (
    "file_name",
    "filename",
    "file",
    "image",
    "image_name",
    "img",
    "path",
    "filepath",
    "image_path",
    "image_id",
    "id",
)
_LABELS = ("label", "labels", "class", "class_name", "category", "target", "y", "breed", "species", "diagnosis")


@dataclass(frozen=True)
class LabelTable:
    """The columns of a table, by name; those of csv are texts."""

    path: Path
    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_table(path: Path) -> LabelTable:
    """Read a table whose first row, or whose keys, name the columns.

    Raises
    ------
    InputError
        If it is none; the message says which row is wrong.
    LimitError
        If it is larger than such a table can be.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise LimitError(f"{path} has more than {_MAX_BYTES:,} bytes, too many for a table of labels")
        text = path.read_bytes().decode("utf-8-sig")  # line ends as they are: a cell may hold some
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text ({error}): save it as UTF-8") from error
    columns = _of_lines(text, path) if path.suffix.lower() == ".jsonl" else _of_cells(text, path)
    if not columns or not next(iter(columns.values())):
        raise InputError(f"{path} is empty: it needs a row of names, then a row for each image")
    return LabelTable(path, columns)


def _of_cells(text: str, path: Path) -> dict[str, list[Any]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise InputError(f"{path} is no table ({error}): save it anew") from error
    if not rows:
        return {}
    head = [cell.strip() for cell in rows[0]]
    if len(set(head)) < len(head):
        raise InputError(f"{path} has two columns of one name: {', '.join(head)}")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise InputError(f"{path}: row {number} has {len(row)} cells, the first has {len(head)}")
    return {name: [row[i].strip() for row in rows[1:]] for i, name in enumerate(head)}


def _of_lines(text: str, path: Path) -> dict[str, list[Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} holds {type(row).__name__}, not keys with values")
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def choose_columns(table: LabelTable, file: str | None, label: str | None) -> tuple[str, str]:
    """Return the names of the columns of the images and of the labels, as they are given or told by their names.

    Raises
    ------
    ConfigError
        If it cannot be told, or there is none of a given name; the message says what to write.
    """
    names = list(table.columns)
    for given in (file, label):
        if given is not None and given not in names:
            raise ConfigError(f"{table.path} has no column {given!r}; there are {', '.join(names)}")
    file = file or _first(_FILES, names)
    rest = [name for name in names if name != file]
    label = label or _first(_LABELS, rest) or (rest[0] if len(rest) == 1 and file else None)
    if file is None or label is None:
        raise ConfigError(
            f"{table.path} has the columns {', '.join(names)}: say which name the images and the labels, "
            f"labels={str(table.path) + ':FILE_COLUMN:LABEL_COLUMN'!r}"
        )
    return file, label


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in wanted if name in lower), None)


def label_column(values: Sequence[Any], where: str) -> Labels:
    """Return the labels in a column: texts of a csv, or values of a jsonl file."""
    if all(value is None or isinstance(value, str) for value in values):
        return labels_of_texts(["" if value is None else value for value in values], where)
    whole = [value for value in values if value is not None]
    if all(isinstance(value, (int, float)) for value in whole):  # true and false are 1 and 0
        if any(isinstance(value, float) for value in whole):
            return labels_of(np.array([np.nan if value is None else value for value in values], np.float64), where)
        return labels_of(np.array([-1 if value is None else value for value in values], np.int64), where)
    if whole == list(values) and all(isinstance(value, list) for value in whole):
        try:
            return labels_of(np.array(whole), where)
        except ValueError as error:
            raise InputError(f"{where}: rows of different lengths ({error}): give one label per image") from error
    raise InputError(f"{where} holds values of several types: give texts, or numbers, in all rows")
