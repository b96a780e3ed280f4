"""Sources: what every input becomes before it is converted."""

import os
import sys
from typing import Any

from shardwright.base.detect import source_of_path
from shardwright.base.errors import InputError
from shardwright.base.source import Source

__all__ = ["Source", "open_source"]

_ACCEPTED = (
    "give the path of a folder (class folders of images, a folder of images, or a converted "
    "dataset), a dataset with __len__ and __getitem__ (torch, torchvision, ...), "
    "a reader of this library, or a Source (for arrays: shardwright.arrays.source.ArraySource)"
)


def open_source(input_data: Any) -> Source:
    """Return the source that reads `input_data`.

    Parameters
    ----------
    input_data : str, path-like, dataset, reader or Source
        A folder of images, a tar or zip of one, an array file (.npy, .npz, HDF5, IDX), a TFRecord
        file or folder, a converted dataset, or an object that gives samples
        by number. `ArraySource` and `TFRecordSource` take options.

    Raises
    ------
    InputError
        If it is none of these, or if nothing in it can be read.

    Examples
    --------
    >>> len(open_source([("a", 1), ("b", 0)]))
    2
    """
    if isinstance(input_data, Source):
        return input_data
    if isinstance(input_data, (str, os.PathLike)):
        source, path = source_of_path(os.path.expanduser(os.fsdecode(input_data)))
        return source(path)
    if "shardwright.base.reader" in sys.modules:  # not loaded: there cannot be a reader
        from shardwright.base.view_source import ViewSource
        from shardwright.base.views import as_view

        view = as_view(input_data)
        if view is not None and view.is_plain:
            return ViewSource(view)
    _check_dataset(input_data)
    from shardwright.torch_datasets import segmentation_datasets  # torch is slow to import
    from shardwright.torch_datasets import source as torch_dataset  # torch is slow to import

    if segmentation_datasets.is_segmentation(input_data):
        return segmentation_datasets.SegmentationSource(input_data)
    if torch_dataset.is_folder_like(input_data):
        return torch_dataset.FolderLikeSource(input_data)
    return torch_dataset.DatasetSource(input_data)


def _check_dataset(value: Any) -> None:
    """Raise `InputError` unless `value` gives samples by number."""
    kind = type(value).__name__
    if isinstance(value, type):
        raise InputError(f"input_data is the class {value.__name__}, not a dataset; {_ACCEPTED}")
    by_number = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    torch_data = sys.modules.get("torch.utils.data")
    if torch_data is not None and isinstance(value, torch_data.IterableDataset):
        by_number = False  # it inherits a __getitem__ that only raises
    if not by_number and (hasattr(value, "__iter__") or hasattr(value, "__getitem__")):
        raise InputError(
            f"input_data is an iterable-style {kind}: samples are read by number, in any order; "
            "give it __len__ and __getitem__, or convert list(input_data)"
        )
    # The others have both methods too, but what one sample of them would be is a guess.
    if not by_number or isinstance(value, (dict, tuple, bytes, bytearray)) or hasattr(value, "__array__"):
        raise InputError(f"input_data is of type {kind}; {_ACCEPTED}")
