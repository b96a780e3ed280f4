"""A converted split as the input of another conversion: encoded bytes are copied, never re-encoded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.base.fields import Field
from datasets.base.formats import open_reader
from datasets.base.images import EncodedImage
from datasets.base.values import restore
from datasets.sources.source import Source

__all__ = ["SplitSource"]


class SplitSource(Source):
    """The samples of a converted split, every stored value checked as it is read.

    Parameters
    ----------
    dataset_path : path
    split : str
    columns : sequence of str, optional
        Take these fields only.

    Raises
    ------
    IncompleteDatasetError
        If the split was not published.
    """

    def __init__(self, dataset_path: str | Path, split: str = "train", columns: Sequence[str] | None = None) -> None:
        self.reader = open_reader(dataset_path, split=split, output="numpy", check=True, columns=columns)
        self.sample_type = self.reader.manifest.sample_type
        self.fields = {f.name: _neutral(f) for f in self.reader.fields}

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> dict[str, Any]:
        columns = self.reader.read_columns([index])
        return {f.name: _value(f, columns[f.name][0]) for f in self.reader.fields}

    def name(self, index: int) -> str:
        """Return which sample of which split it is."""
        return f"{self.reader.dataset_path} (split {self.reader.split!r}), sample {index}"

    def content(self) -> dict[str, Any]:
        """Return the hash of the index, which holds the hash of every value."""
        fields = [f.name for f in self.reader.fields]
        return {"num_samples": len(self), "index_xxh3": self.reader.manifest.index.xxh3, "columns": fields}


def _neutral(field: Field) -> Field:
    """Return the field without what only its present format decides."""
    if field.is_image:
        return Field(field.name, field.kind, palette=field.palette)
    return replace(field, compression=None)


def _value(field: Field, stored: Any) -> Any:
    if field.is_scalar:
        return stored.item()
    if field.is_image and not field.is_fixed:
        return EncodedImage(bytes(stored))
    if not field.is_fixed:
        return restore(field, stored, "numpy")
    if field.is_image and field.layout == "CHW":
        stored = stored.transpose(1, 2, 0)
    return stored[:, :, 0] if field.is_image and stored.shape[2:] == (1,) else stored
