"""Converted splits as the input of another conversion: encoded bytes are copied, never re-encoded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage
from shardwright.base.reader import Reader, open_reader
from shardwright.base.source import Source
from shardwright.base.values.restore import restore
from shardwright.base.views import View

__all__ = ["SplitSource", "ViewSource"]


class ViewSource(Source):
    """The samples of a reader, a selection of them, or several joined, as they are stored.

    Parameters
    ----------
    view : View
        One that is plain.
    """

    keeps_samples = True

    def __init__(self, view: View) -> None:
        self.view = view.reopened()
        self.sample_type = self.view.sample_type
        self.fields = {f.name: f.neutral() for f in self.view.fields}
        self.labels_from = self.view.labels_from

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, index: int) -> dict[str, Any]:
        reader, position = self.view.locate(index)
        columns = reader.read_columns([position])
        return {f.name: _value(f, columns[f.name][0]) for f in reader.fields}

    def name(self, index: int) -> str:
        """Return which sample of which split it is."""
        reader, position = self.view.locate(index)
        return f"{reader.where}, sample {position}"

    def content(self) -> dict[str, Any]:
        """Return what decides about the samples, without any path."""
        return self.view.content()


class SplitSource(ViewSource):
    """The samples of a converted split, every stored value checked as it is read.

    Parameters
    ----------
    dataset_path : path
    split : str
    columns : sequence of str, optional
        Take these fields only.
    data_path : path, optional
        The folder of the shard files, where they do not lie in the dataset's own.

    Raises
    ------
    IncompleteDatasetError
        If the split was not published.
    """

    def __init__(
        self,
        dataset_path: str | Path,
        split: str = "train",
        columns: Sequence[str] | None = None,
        data_path: str | Path | None = None,
    ) -> None:
        self.reader: Reader = open_reader(dataset_path, split=split, columns=columns, data_path=data_path)
        super().__init__(self.reader)
        self.nbytes = sum(file.size for file in self.reader.manifest.shard_files)


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
