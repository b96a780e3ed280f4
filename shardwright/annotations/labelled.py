"""Images whose labels stand in a table beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.annotations.matching import match_rows
from shardwright.annotations.tables import LabelTable, choose_columns, label_column, read_table
from shardwright.annotations.wrapped import AnnotatedSource
from shardwright.base.fields import Field
from shardwright.base.source import Places, Source, digest_of
from shardwright.base.values.infer import field_name
from shardwright.base.values.label_column import Labels

__all__ = ["LabelledSource", "metadata_source", "of_mapping", "of_table"]


class LabelledSource(AnnotatedSource):
    """Images with a label each, and perhaps further values, from a table.

    Parameters
    ----------
    source : Source
    path : Path
        The table's file.
    labels : mapping of str to Labels
        Field name to its values, a value per row.
    rows : int64 array of shape (N,)
        The row about each image; -1: none.
    told : str
        Where the labels were found.
    """

    def __init__(
        self, source: Source, path: Path, labels: Mapping[str, Labels], rows: NDArray[np.int64], told: str
    ) -> None:
        super().__init__(source, path)
        self.labels_from = told
        self._values = {name: _at(column, rows) for name, column in labels.items()}
        for name, column in labels.items():
            if column.kind == "class_label":
                self.fields[name] = Field(name, "class_label", names=column.names)
            elif column.kind != "array":
                self.fields[name] = Field(name, column.kind)
        self._count(rows, int(max((len(c.numbers) for c in labels.values()), default=0)), "row")

    def __getitem__(self, index: int) -> dict[str, Any]:
        more = {n: v[index] if v.ndim > 1 else v.item(index) for n, v in self._values.items()}
        return {**self.image(index), **more}

    def places(self) -> Sequence[Places]:
        """Return the places of the images, and the values as scalars; several labels per image are left out."""
        (shard,) = self.source.places()
        scalars = {name: values for name, values in self._values.items() if values.ndim == 1}
        left = {
            f"{n}: several values per sample, kept in memory": len(self) for n in self._values.keys() - scalars.keys()
        }
        fields = (*(f for f in shard.fields if f.name != "label"), *(self.fields[name] for name in scalars))
        return [replace(shard, fields=fields, scalars=scalars, left_out={**shard.left_out, **left})]


def _at(column: Labels, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return the value of each image; missing ones are -1, NaN, or zeros of several."""
    values = column.numbers[np.maximum(rows, 0)]
    if values.ndim > 1:
        values = np.where((rows < 0)[:, None], 0, values)
        return values.astype(column.numbers.dtype)
    return np.where(rows < 0, np.nan if values.dtype.kind == "f" else -1, values).astype(column.numbers.dtype)


def of_table(source: Source, path: Path, file: str | None = None, label: str | None = None) -> LabelledSource:
    """Return images with the labels of a csv, tsv or jsonl file."""
    table = read_table(path)
    file, label = choose_columns(table, file, label)
    rows = _rows(source, table, file)
    where = f"column {label} of {path.name}"
    found = LabelledSource(source, path, {"label": label_column(table.columns[label], where)}, rows, where)
    for name in table.columns:
        if name not in (file, label):
            found.ignored[f"column {name} of {path.name}, not used"] = 1
    return found


def _rows(source: Source, table: LabelTable, file: str) -> NDArray[np.int64]:
    names = [source.name(index) for index in range(len(source))]
    return match_rows(names, [str(value) for value in table.columns[file]], str(table.path))


def metadata_source(source: Source, path: Path) -> Source:
    """Return images with all columns of Hugging Face's ``metadata.csv`` or ``metadata.jsonl``.

    Numbers, and the column called label or the only one of texts, become fields; what else there is, is counted.
    """
    table = read_table(path)
    if "file_name" not in table.columns:
        source.ignored = {**source.ignored, f"{path.name} has no column file_name, not used": 1}
        return source
    rows = _rows(source, table, "file_name")
    fields: dict[str, Labels] = {}
    left: list[str] = []
    for name, values in table.columns.items():
        if name == "file_name":
            continue
        try:
            found = label_column(values, f"column {name} of {path.name}")
        except Exception:  # noqa: BLE001  # values that are no labels: lists, several types
            left.append(name)
            continue
        if found.kind == "class_label" and name != "label" and len(found.names or ()) > len(values) // 2:
            left.append(name)  # captions are no classes
        else:
            fields["label" if name == "label" else field_name(name, fields)] = found
    if not fields:
        source.ignored = {**source.ignored, f"{path.name} beside the images, not used: no column of labels": 1}
        return source
    told = f"column label of {path.name}" if "label" in fields else path.name
    made = LabelledSource(source, path, fields, rows, told)
    made.sample_type = "tuple" if list(fields) == ["label"] else "dict"
    for name in left:
        made.ignored[f"column {name} of {path.name}, not used"] = 1
    return made


def of_mapping(source: Source, path: Path, classes: Mapping[str, str], told: str) -> LabelledSource:
    """Return images with the classes that a mapping of file names says."""
    rows = match_rows([source.name(i) for i in range(len(source))], list(classes), str(path))
    made = LabelledSource(source, path, {"label": label_column(list(classes.values()), told)}, rows, told)
    made.digest = digest_of("\n".join(f"{name} {label}" for name, label in classes.items()).encode())
    return made
