"""Files behind torchvision's datasets that only open them: they are stored as they are."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.source import Source
from shardwright.base.storage.names import printable
from shardwright.folders.files import PathSource, listed_files
from shardwright.folders.paired import PairedFilesSource

_MOST_CLASSES = 100_000

__all__ = [
    "LABELLED",
    "VOC_CLASSES",
    "WITH_MASKS",
    "FolderLikeSource",
    "SegmentationSource",
    "class_names",
    "files_of",
    "source_of_files",
    "unused_names",
    "unwrapped",
]

VOC_CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor".split()
)
# The values of a dataset, field by field: paths of files, or numbers.
Columns = list[tuple[Field, Sequence[Any] | NDArray[np.int64]]]


def _is_plain_subset(dataset: Any) -> bool:
    """Tell whether a dataset is a `Subset` that hands samples on as they are."""
    return isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__


def unwrapped(dataset: Any) -> Any:
    """Return the dataset that one or more `Subset` stand for."""
    while _is_plain_subset(dataset):
        dataset = dataset.dataset
    return dataset


def class_names(dataset: Any) -> tuple[str, ...] | None:
    """Return the names of a dataset's class numbers, one or several (ImageNet) for each; ``None``: it has none.

    Its own ``class_to_idx`` rules; else the places in ``classes`` (``categories`` of Caltech101 and
    Caltech256) are the numbers. Labels that are not those numbers any more, or not the category, have no names.
    """
    if isinstance(dataset, ConcatDataset):
        return _shared_names(dataset)
    if _names_are_changed(dataset):
        return None
    classes = _listed_names(dataset)
    numbers = getattr(dataset, "class_to_idx", None)
    if not isinstance(numbers, Mapping) or not numbers or not all(map(_is_entry, numbers.items())):
        return classes
    by_number: dict[int, list[str]] = {}
    for name, number in numbers.items():
        by_number.setdefault(int(number), []).append(name)
    if classes and all(n < len(classes) and classes[n] == _joined(names) for n, names in by_number.items()):
        return classes
    numbered = {number: _joined(names) for number, names in by_number.items()}
    # A number without a name is a gap, not a reason to lose the names of the others.
    return tuple(numbered.get(number) or _free_name(number, numbered.values()) for number in range(max(numbered) + 1))


def _shared_names(joined: ConcatDataset[Any]) -> tuple[str, ...] | None:
    """Return the class names that all joined datasets have, or raise `InputError` if a number means several classes."""
    every = [class_names(unwrapped(dataset)) for dataset in joined.datasets]
    first = next((names for names in every if names is not None), None)
    others = [names for names in every if names != first]
    if first is None or not others:
        return first
    shown = "no names" if others[0] is None else ", ".join(others[0][:5])
    raise InputError(
        f"the datasets in ConcatDataset have other classes: {', '.join(first[:5])} and {shown}; the same number would "
        "mean different classes. Convert each as a split with the same classes=[...] and join the readers with concat "
        "or merge"
    )


def _names_are_changed(dataset: Any) -> bool:
    """Whether a dataset has class names, but its labels are not their numbers any more, or other things."""
    if getattr(dataset, "target_transform", None) is not None:
        return True
    return bool(getattr(dataset, "_target_types", ["category"]) != ["category"])  # OxfordIIITPet


def unused_names(dataset: Any) -> dict[str, int]:
    """Return what to count of class names that are there and cannot be used."""
    if _listed_names(dataset) is None or not _names_are_changed(dataset):
        return {}
    return {"class names of the dataset, not used: its labels are not their numbers any more; give classes=[...]": 1}


def _listed_names(dataset: Any) -> tuple[str, ...] | None:
    classes = getattr(dataset, "classes", getattr(dataset, "categories", None))
    if not isinstance(classes, (list, tuple)) or not classes:
        return None
    entries = [(entry,) if isinstance(entry, str) else entry for entry in classes]
    for entry in entries:
        if not isinstance(entry, (list, tuple)) or not all(isinstance(name, str) for name in entry):
            return None
    return tuple(map(_joined, entries))


def _joined(names: Sequence[str]) -> str:
    return printable(os.fsencode(", ".join(names)))


def _is_entry(entry: tuple[Any, Any]) -> bool:
    name, number = entry
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    return isinstance(name, str) and whole and 0 <= number < _MOST_CLASSES


def _free_name(number: int, taken: Iterable[str]) -> str:
    return f"class {number}" if str(number) in taken else str(number)


def _labelled(dataset: Any, paths: Sequence[Any], labels: Any) -> Columns | None:
    """Return images with a class number each, if numbers they are."""
    numbers = np.asarray(labels)
    if numbers.size and numbers.dtype.kind not in "iu":
        return None
    names = class_names(dataset)
    label = Field("label", "class_label", names=names) if names else Field("label", "int")
    return [(Field("image", "image"), paths), (label, numbers.astype(np.int64))]


def _pairs(dataset: Any, pairs: Iterable[tuple[Any, Any]]) -> Columns | None:
    pairs = list(pairs)
    return _labelled(dataset, [path for path, _ in pairs], [label for _, label in pairs])


def _two_lists(dataset: Any) -> Columns | None:
    return _labelled(dataset, dataset._image_files, dataset._labels)


def _caltech101(dataset: Any) -> Columns | None:
    if dataset.target_type != ["category"]:
        return None
    return _caltech(dataset, "101_ObjectCategories", "image_{index:04d}.jpg")


def _caltech(dataset: Any, folder: str, name: str) -> Columns | None:
    folders = [os.path.join(dataset.root, folder, category) for category in dataset.categories]
    numbered = zip(dataset.y, dataset.index, strict=True)
    paths = [os.path.join(folders[y], name.format(number=y + 1, index=index)) for y, index in numbered]
    return _labelled(dataset, paths, dataset.y)


def _cityscapes(dataset: Any) -> Columns:
    names = tuple(c.name for c in sorted(dataset.classes, key=lambda c: c.id) if c.id >= 0)
    several = len(dataset.target_type) > 1
    columns: Columns = [(Field("image", "image"), dataset.images)]
    for number, kind in enumerate(dataset.target_type):
        if kind == "polygon":
            field = Field("polygons", "json")
        else:
            field = Field(f"{kind}_mask" if several else "mask", "mask", names=names if kind == "semantic" else None)
        columns.append((field, [targets[number] for targets in dataset.targets]))
    return columns


def _pet_classes(dataset: Any) -> Columns | None:
    if dataset._target_types != ["category"]:
        return None
    return _labelled(dataset, dataset._images, dataset._labels)


def _pet_masks(dataset: Any) -> Columns | None:
    if "segmentation" not in dataset._target_types:
        return None
    label = Field("label", "class_label", names=tuple(dataset.classes))
    species = Field("species", "class_label", names=tuple(dataset.bin_classes))
    columns = {
        "category": (label, np.asarray(dataset._labels, np.int64)),
        "binary-category": (species, np.asarray(dataset._bin_labels, np.int64)),
        "segmentation": (Field("mask", "mask"), dataset._segs),
    }
    return [(Field("image", "image"), dataset._images), *(columns[kind] for kind in dataset._target_types)]


def _voc(dataset: Any) -> Columns:
    return [(Field("image", "image"), dataset.images), (Field("mask", "mask", names=VOC_CLASSES), dataset.masks)]


# torchvision's classes that do nothing but open files, and how to find each one's lists: of images with a label
# each, and of images with masks or JSON.
Table = Mapping[str, Callable[[Any], Columns | None]]
LABELLED: Table = {
    **dict.fromkeys(("DTD", "FGVCAircraft", "Flowers102", "Food101", "SUN397"), _two_lists),
    **dict.fromkeys(("GTSRB", "Imagenette", "RenderedSST2", "StanfordCars"), lambda d: _pairs(d, d._samples)),
    "Caltech101": _caltech101,
    "Caltech256": lambda d: _caltech(d, "256_ObjectCategories", "{number:03d}_{index:04d}.jpg"),
    "DatasetFolder": lambda d: _pairs(d, d.samples),
    "OxfordIIITPet": _pet_classes,
    "Places365": lambda d: _pairs(d, d.imgs),
}
WITH_MASKS: Table = {"Cityscapes": _cityscapes, "OxfordIIITPet": _pet_masks, "VOCSegmentation": _voc}


def _extracted(dataset: Any, table: Table) -> Columns | None:
    """Return the files of a dataset that is torchvision's own.

    It is known by the very function that reads a sample, so a subclass that
    changes it is not taken for torchvision's own.
    """
    torchvision = sys.modules.get("torchvision.datasets")  # not loaded: cannot be one of its own
    changes = ("transform", "target_transform", "transforms")
    if torchvision is None or any(getattr(dataset, name, None) is not None for name in changes):
        return None
    folder = torchvision.folder
    if getattr(dataset, "loader", folder.pil_loader) not in (folder.default_loader, folder.pil_loader):
        return None
    read = getattr(type(dataset), "__getitem__", None)
    for name, extract in table.items():
        if read is getattr(torchvision, name).__getitem__:
            return extract(dataset)
    return None


def _chosen(subset: Any, length: int) -> NDArray[np.int64] | None:
    """Return the numbers of the samples that a `Subset` keeps, if they are plain numbers."""
    chosen = np.asarray(subset.indices)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        return None
    chosen = np.where(chosen < 0, chosen + length, chosen).astype(np.int64)
    return chosen if ((chosen >= 0) & (chosen < length)).all() else None


def files_of(dataset: Any, table: Table) -> Columns | None:
    """Return what a dataset of torchvision, or a `Subset` of one, reads; ``None`` if that is not all that it does."""
    if not _is_plain_subset(dataset):
        columns = _extracted(dataset, table)
    else:
        inner = files_of(dataset.dataset, table)
        chosen = None if inner is None else _chosen(dataset, len(dataset.dataset))
        if inner is None or chosen is None:
            return None
        columns = [(field, _at(values, chosen)) for field, values in inner]
    if columns is None or any(len(values) != len(dataset) for _, values in columns):
        return None
    return columns


def _at(values: Any, rows: NDArray[np.int64]) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows.tolist()]


def _needed_files_of(dataset: Any, table: Table, opens: str, without: str) -> Columns:
    """Return `files_of` a dataset, or say that it does more than open the files that `opens` names."""
    columns = files_of(dataset, table)
    if columns is None:
        raise InputError(
            f"{type(dataset).__name__} does more than open {opens}: "
            f"give it to DatasetSource, or leave out its {without}"
        )
    return columns


class FolderLikeSource(PathSource):
    """A dataset of torchvision that only opens image files: their bytes, untouched.

    That is `ImageFolder` and its kind (`LABELLED`) without a transform, with torchvision's own
    loader and ``__getitem__``, and a `Subset` of one. The dataset's own list counts, also
    where a user has changed it.

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
        (_, paths), (label, numbers) = _needed_files_of(dataset, LABELLED, "image files", "transform and loader")
        own = unwrapped(dataset)
        self._dataset_name = type(own).__name__
        root, files = listed_files(paths, own.root)
        super().__init__(root, replace(files, labels=np.asarray(numbers), classes=label.names))
        self.labels_from = f"the classes of the {self._dataset_name}" if label.names else ""
        self.ignored = {**self.ignored, **unused_names(own)}

    def content(self) -> dict[str, Any]:
        """Return number of samples and classes, a digest of the files, the dataset's class."""
        return {**super().content(), "dataset": self._dataset_name}


class SegmentationSource(PairedFilesSource):
    """VOCSegmentation, Cityscapes or OxfordIIITPet of torchvision, without a transform: their files, untouched.

    ``Cityscapes(target_type=["semantic", "instance"])`` gives the fields
    ``semantic_mask`` and ``instance_mask``, one type alone ``mask``; polygons are
    JSON. ``OxfordIIITPet`` gives ``mask``, ``label`` and ``species`` (binary-category).

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
        found = _needed_files_of(dataset, WITH_MASKS, "images and masks", "transform")
        columns = [(f, v if isinstance(v, np.ndarray) else PathSource(*listed_files(v))) for f, v in found]
        super().__init__(columns, {"dataset": type(unwrapped(dataset)).__name__})


def source_of_files(dataset: Any) -> Source | None:
    """Return the source of a dataset's files, if it does no more than open them."""
    if files_of(dataset, WITH_MASKS) is not None:
        return SegmentationSource(dataset)
    return FolderLikeSource(dataset) if files_of(dataset, LABELLED) is not None else None
