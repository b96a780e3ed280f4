"""Converted splits as the input of another conversion: encoded bytes are copied, never re-encoded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from shardwright.base.fields import Field
from shardwright.base.formats import get_format
from shardwright.base.images import EncodedImage
from shardwright.base.reader import Reader, open_reader
from shardwright.base.source import Source, digest_of
from shardwright.base.values.restore import restore
from shardwright.base.views import Concat, Selection, reads_as

__all__ = ["SplitSource", "ViewSource", "is_view"]

_CHANGES = ("transform", "target_transform", "transforms")


def is_view(value: Any) -> bool:
    """Whether a value is a reader, or some samples of readers, and changes nothing of what it reads."""
    if isinstance(value, Reader):
        plain = reads_as(value, get_format(value.manifest.format).load_reader())
        return plain and all(getattr(value, name) is None for name in _CHANGES)
    if isinstance(value, Concat):
        return reads_as(value, Concat) and all(map(is_view, value.datasets))
    kind = next((kind for kind in (Selection, Subset) if isinstance(value, kind)), None)
    return kind is not None and reads_as(value, kind) and is_view(value.dataset)


def _reopened(view: Any) -> Any:
    """Return the same samples, every stored value checked as it is read, whatever the view's own options are."""
    if isinstance(view, Reader):
        names = [f.name for f in view.fields]
        return open_reader(
            view.dataset_path, split=view.split, output="numpy", check=True, columns=names, data_path=view.data_path
        )
    if isinstance(view, Concat):
        return Concat([_reopened(dataset) for dataset in view.datasets])
    return Selection(_reopened(view.dataset), view.indices)


def _content_of(view: Any) -> dict[str, Any]:
    """Return what a view is: the hash of the index, which holds the hash of every value, and the chosen samples."""
    if isinstance(view, Reader):
        fields = [f.name for f in view.fields]
        return {"num_samples": len(view), "index_xxh3": view.manifest.index.xxh3, "columns": fields}
    if isinstance(view, Concat):
        return {"num_samples": len(view), "concat": [_content_of(dataset) for dataset in view.datasets]}
    return {"num_samples": len(view), "selection": digest_of(view.indices), "of": _content_of(view.dataset)}


def _locate(view: Any, index: int) -> tuple[Reader, int]:
    """Return the reader that has sample `index` of a view, and its number there."""
    while not isinstance(view, Reader):
        if isinstance(view, Concat):
            view, index = view.locate(index)
        else:
            view, index = view.dataset, int(view.indices[index])
    return view, index


class ViewSource(Source):
    """The samples of a reader, a selection of them, or several joined; see `is_view`.

    Parameters
    ----------
    view : Reader, Selection, Concat or torch.utils.data.Subset
    """

    def __init__(self, view: Any) -> None:
        self.reader = _reopened(view)
        first: Any = self.reader
        while isinstance(first, Concat | Selection):
            first = first.datasets[0] if isinstance(first, Concat) else first.dataset
        self.sample_type = first.manifest.sample_type
        self.fields = {f.name: f.neutral() for f in self.reader.fields}

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> dict[str, Any]:
        reader, position = _locate(self.reader, index)
        columns = reader.read_columns([position])
        return {f.name: _value(f, columns[f.name][0]) for f in reader.fields}

    def name(self, index: int) -> str:
        """Return which sample of which split it is."""
        reader, position = _locate(self.reader, index)
        return f"{reader.dataset_path} (split {reader.split!r}), sample {position}"

    def content(self) -> dict[str, Any]:
        """Return what decides about the samples, without any path."""
        return _content_of(self.reader)


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
        super().__init__(open_reader(dataset_path, split=split, columns=columns, data_path=data_path))


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
