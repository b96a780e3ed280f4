"""Torch-style datasets: anything with ``__len__`` and ``__getitem__``.

A dataset of torchvision that only opens files is read file by file, so that the
files' own bytes are stored (`torchvision_files`). Of every other dataset the
samples are stored as it returns them (`DatasetSource`).
"""

import contextlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage
from shardwright.base.source import Source
from shardwright.base.values.mask_values import image_size, is_of_size
from shardwright.torch_datasets.torchvision_files import (
    class_names,
    source_of_files,
    unused_names,
    unwrapped,
)

__all__ = ["DatasetSource", "name_values", "open_dataset"]

_TRIES = 1000  # samples that are read to find a good one


def _is_picture(value: Any, image: Any) -> bool:
    """Tell whether the second value of a sample is a mask and not a label."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        size = image_size({"image": image})
        return value.ndim == 2 or (value.ndim > 2 and tuple(value.shape[-2:]) == size) or is_of_size(value, size)
    return isinstance(value, (Image.Image, EncodedImage))


def _is_number(value: Any) -> bool:
    """Tell whether a value can be a class number."""
    if isinstance(value, torch.Tensor):
        return value.ndim == 0 and not value.is_floating_point() and value.dtype != torch.bool
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def name_values(sample: Any) -> dict[str, Any]:
    """Give every value of a sample its field name.

    Dicts and named tuples bring their names. The values of a tuple or list are
    called image, label (mask, if it is a picture), field_2, field_3, ...; any
    other sample is an image without a label.

    Raises
    ------
    InputError
        If the sample is empty or a key is not a string.
    """
    if isinstance(sample, Mapping):
        named = dict(sample)
    elif isinstance(sample, (tuple, list)):
        second = "mask" if len(sample) > 1 and _is_picture(sample[1], sample[0]) else "label"
        names = ["image", second, *(f"field_{i}" for i in range(2, len(sample)))]
        named = dict(zip(getattr(sample, "_fields", names), sample, strict=False))
    else:
        named = {"image": sample}
    if not named:
        raise InputError(f"the sample is an empty {type(sample).__name__}: return at least one value")
    for name in named:
        if not isinstance(name, str):
            raise InputError(
                f"the sample is a dict with the key {name!r} ({type(name).__name__}): "
                "use strings as keys, they become field names"
            )
    return named


class DatasetSource(Source):
    """Any dataset with ``__len__`` and ``__getitem__``; `name_values` names its values.

    The first good sample is read once to learn whether samples are dicts and labels
    are class numbers. What the dataset raises is left to the caller.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset or any object with these two methods
        If it has ``classes``, a list of names, integer labels are class labels.

    Examples
    --------
    >>> DatasetSource([("a", 1), ("b", 0)])[1]
    {'image': 'b', 'label': 0}
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._length = len(dataset)
        self.sample_type, label = self._look_at_first()
        own = unwrapped(dataset)
        names = class_names(own) if _is_number(label) else None
        self.ignored = unused_names(own) if _is_number(label) else {}
        if names:
            self.labels_from = f"the classes of the {type(own).__name__}"
            self.fields = {"label": Field(name="label", kind="class_label", names=names)}

    def _look_at_first(self) -> tuple[Literal["tuple", "dict"], Any]:
        """Return the type of the first good sample and its label, if it has one."""
        for index in range(min(self._length, _TRIES)):
            # Bad samples are found, and told of or skipped, when they are converted.
            with contextlib.suppress(Exception, SystemExit):
                first = self._dataset[index]
                kind: Literal["tuple", "dict"] = "dict" if isinstance(first, Mapping) else "tuple"
                return kind, name_values(first).get("label")
        return "tuple", None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return name_values(self._dataset[index])

    def content(self) -> dict[str, Any]:
        """Return the number of samples and the name of the dataset's class."""
        return {"num_samples": len(self), "dataset": type(unwrapped(self._dataset)).__name__}


def open_dataset(dataset: Any) -> Source:
    """Return the source of any dataset: its files, where it only opens files, else its samples."""
    files = source_of_files(dataset)
    return DatasetSource(dataset) if files is None else files
