"""Torch-style datasets: anything with ``__len__`` and ``__getitem__``.

A dataset of torchvision that only opens image files is read file by file, so
that the files' own bytes are stored (`FolderLikeSource`). Of every other
dataset the samples are stored as it returns them (`DatasetSource`).
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Subset

from datasets.base.errors import InputError
from datasets.base.fields import Field
from datasets.base.images import EncodedImage
from datasets.sources.files import PackedNames, PathSource, checked_status, printable
from datasets.sources.source import Source

__all__ = ["DatasetSource", "FolderLikeSource", "is_folder_like", "name_values"]


def _is_picture(value: Any) -> bool:
    """Tell whether the second value of a sample is a mask and not a label."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.ndim == 2
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
        second = "mask" if len(sample) > 1 and _is_picture(sample[1]) else "label"
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


def _is_plain_subset(dataset: Any) -> bool:
    """Tell whether a dataset is a `Subset` that hands samples on as they are."""
    return isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__


def _unwrapped(dataset: Any) -> Any:
    """Return the dataset that one or more `Subset` stand for."""
    while _is_plain_subset(dataset):
        dataset = dataset.dataset
    return dataset


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    """Return ``dataset.classes`` if it is a list of names, one or several (ImageNet) for each.

    Caltech101 and Caltech256 call it ``categories``. Labels that are not those
    numbers any more, or not the category, have no names.
    """
    if getattr(dataset, "target_transform", None) is not None:
        return None
    if getattr(dataset, "_target_types", ["category"]) != ["category"]:  # OxfordIIITPet
        return None
    classes = getattr(dataset, "classes", getattr(dataset, "categories", None))
    if not isinstance(classes, (list, tuple)) or not classes:
        return None
    entries = [(entry,) if isinstance(entry, str) else entry for entry in classes]
    for entry in entries:
        if not isinstance(entry, (list, tuple)) or not all(isinstance(name, str) for name in entry):
            return None
    return tuple(printable(os.fsencode(", ".join(entry))) for entry in entries)


class DatasetSource(Source):
    """Any dataset with ``__len__`` and ``__getitem__``; `name_values` names its values.

    The first sample is read once to learn whether samples are dicts and labels
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
        names = _class_names(_unwrapped(dataset)) if _is_number(label) else None
        if names and -1 <= int(label) < len(names):
            self.fields = {"label": Field(name="label", kind="class_label", names=names)}

    def _look_at_first(self) -> tuple[Literal["tuple", "dict"], Any]:
        """Return the type of the first sample and its label, if it has one."""
        try:
            first = self._dataset[0] if self._length else (None,)
            kind: Literal["tuple", "dict"] = "dict" if isinstance(first, Mapping) else "tuple"
            return kind, name_values(first).get("label")
        # Bad samples are found, and told of, when they are converted.
        except (Exception, SystemExit):  # noqa: BLE001
            return "tuple", None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return name_values(self._dataset[index])

    def content(self) -> dict[str, Any]:
        """Return the number of samples and the name of the dataset's class."""
        return {"num_samples": len(self), "dataset": type(_unwrapped(self._dataset)).__name__}


@dataclass(frozen=True, slots=True)
class _Files:
    """The image files of a dataset, in its order, with their class numbers."""

    paths: Sequence[str | os.PathLike[str]]
    labels: NDArray[np.int64]
    classes: tuple[str, ...] | None


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    paths, labels = [], []
    for path, label in pairs:
        paths.append(path)
        labels.append(label)
    return paths, labels


def _caltech101(dataset: Any) -> tuple[list[Any], list[Any]] | None:
    if dataset.target_type != ["category"]:
        return None
    folders = [os.path.join(dataset.root, "101_ObjectCategories", c) for c in dataset.categories]
    numbered = zip(dataset.y, dataset.index, strict=True)
    return [os.path.join(folders[y], f"image_{i:04d}.jpg") for y, i in numbered], dataset.y


def _caltech256(dataset: Any) -> tuple[list[Any], list[Any]]:
    folders = [os.path.join(dataset.root, "256_ObjectCategories", c) for c in dataset.categories]
    numbered = zip(dataset.y, dataset.index, strict=True)
    return [os.path.join(folders[y], f"{y + 1:03d}_{i:04d}.jpg") for y, i in numbered], dataset.y


def _oxford_pet(dataset: Any) -> tuple[list[Any], list[Any]] | None:
    if dataset._target_types != ["category"]:
        return None
    return dataset._images, dataset._labels


def _split_lists(dataset: Any) -> tuple[list[Any], list[Any]]:
    return dataset._image_files, dataset._labels


_Extract = Callable[[Any], tuple[list[Any], list[Any]] | None]
# torchvision's classes that do nothing but open an image file, and where each keeps its list.
_EXTRACT: dict[str, _Extract] = {
    "Caltech101": _caltech101,
    "Caltech256": _caltech256,
    "DTD": _split_lists,
    "DatasetFolder": lambda dataset: _pairs(dataset.samples),
    "FGVCAircraft": _split_lists,
    "Flowers102": _split_lists,
    "Food101": _split_lists,
    "GTSRB": lambda dataset: _pairs(dataset._samples),
    "Imagenette": lambda dataset: _pairs(dataset._samples),
    "OxfordIIITPet": _oxford_pet,
    "Places365": lambda dataset: _pairs(dataset.imgs),
    "RenderedSST2": lambda dataset: _pairs(dataset._samples),
    "SUN397": _split_lists,
    "StanfordCars": lambda dataset: _pairs(dataset._samples),
}


def _extractor(dataset: Any) -> _Extract | None:
    """Return how to list the files of `dataset`, or None if its samples are not just files.

    It is found by the very function that reads a sample, so a subclass that
    changes it is not taken for torchvision's own.
    """
    torchvision = sys.modules.get("torchvision.datasets")  # not loaded: cannot be one of its own
    if torchvision is None:
        return None
    changes = ("transform", "target_transform", "transforms")
    if any(getattr(dataset, name, None) is not None for name in changes):
        return None
    folder = torchvision.folder
    if getattr(dataset, "loader", folder.pil_loader) not in (
        folder.default_loader,
        folder.pil_loader,
    ):
        return None
    read = getattr(type(dataset), "__getitem__", None)
    for name, extract in _EXTRACT.items():
        if read is getattr(torchvision, name).__getitem__:
            return extract
    return None


def _chosen(subset: Any, length: int) -> NDArray[np.int64] | None:
    """Return the numbers of the samples that a `Subset` keeps, if they are plain numbers."""
    chosen = np.asarray(subset.indices)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        return None
    chosen = np.where(chosen < 0, chosen + length, chosen).astype(np.int64)
    return chosen if ((chosen >= 0) & (chosen < length)).all() else None


def _find_files(dataset: Any) -> _Files | None:
    """Return the image files that a dataset reads, or None if it does more than that."""
    if _is_plain_subset(dataset):
        inner = _find_files(dataset.dataset)
        chosen = None if inner is None else _chosen(dataset, len(inner.paths))
        if inner is None or chosen is None or len(chosen) != len(dataset):
            return None
        paths = [inner.paths[i] for i in chosen.tolist()]
        return _Files(paths, inner.labels[chosen], inner.classes)
    extract = _extractor(dataset)
    found = extract(dataset) if extract else None
    if found is None or not len(dataset) == len(found[0]) == len(found[1]):
        return None
    labels = np.asarray(found[1])
    if labels.size and labels.dtype.kind not in "iu":
        return None
    names = _class_names(dataset)
    fits = not labels.size or (names and labels.min() >= -1 and labels.max() < len(names))
    return _Files(found[0], labels.astype(np.int64), names if fits else None)


def is_folder_like(dataset: Any) -> bool:
    """Tell whether `FolderLikeSource` takes this dataset."""
    return _find_files(dataset) is not None


def _relative(paths: Iterable[bytes], root: bytes) -> tuple[bytes, list[bytes]]:
    """Return the folder that all paths lie in, `root` if it is one, and the rest of each."""
    prefix = os.path.join(root, b"")
    paths = list(paths)
    if paths and not all(path.startswith(prefix) for path in paths):
        paths = [os.path.normpath(path) for path in paths]
        prefix = os.path.join(os.path.commonpath([os.path.dirname(p) for p in paths]), b"")
    return prefix, [path[len(prefix) :] for path in paths]


class FolderLikeSource(PathSource):
    """A dataset of torchvision that only opens image files: their bytes, untouched.

    That is `ImageFolder` and its kind (`_EXTRACT` lists them) without a
    transform, with torchvision's own loader and ``__getitem__``, and a `Subset`
    of one. The dataset's own list counts, also where a user has changed it.

    Parameters
    ----------
    dataset : torchvision.datasets.VisionDataset or torch.utils.data.Subset
        The dataset.

    Raises
    ------
    InputError
        If it does more than open files, or if one of its files cannot be read.
    """

    def __init__(self, dataset: Any) -> None:
        files = _find_files(dataset)
        if files is None:
            raise InputError(
                f"{type(dataset).__name__} does more than open image files: give it to "
                "DatasetSource, or leave out its transform and loader"
            )
        own = _unwrapped(dataset)
        here = os.getcwdb()
        paths = [os.path.join(here, os.fsencode(path)) for path in files.paths]
        root, names = _relative(paths, os.path.join(here, os.fsencode(own.root).rstrip(b"/")))
        sizes, mtimes = np.empty((2, len(paths)), np.int64)
        for index, path in enumerate(paths):
            status = checked_status(path)
            sizes[index], mtimes[index] = status.st_size, status.st_mtime_ns
        self._dataset_name = type(own).__name__
        super().__init__(root, PackedNames(names), sizes, mtimes, labels=files.labels, classes=files.classes)

    def content(self) -> dict[str, Any]:
        """Return number of samples and classes, a digest of the files, the dataset's class."""
        return {**super().content(), "dataset": self._dataset_name}
