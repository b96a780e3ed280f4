"""torchvision's segmentation datasets: the files of images and masks, stored as they are."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.base.errors import InputError
from datasets.base.fields import Field
from datasets.sources.files import PathSource, checked_status
from datasets.sources.paired_files import PairedFilesSource
from datasets.sources.segmentation import FileStatus, source_of
from datasets.sources.torch_dataset import _chosen, _is_plain_subset, _relative, _unwrapped

__all__ = ["VOC_CLASSES", "SegmentationSource", "is_segmentation"]

VOC_CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor".split()
)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The values of a dataset: lists of paths and arrays of numbers, by field name."""

    values: dict[str, Sequence[Any] | NDArray[np.int64]]
    fields: list[Field]


def _voc(dataset: Any) -> _Columns:
    return _Columns(
        {"image": dataset.images, "mask": dataset.masks},
        [Field("image", "image"), Field("mask", "mask", names=VOC_CLASSES)],
    )


def _cityscapes(dataset: Any) -> _Columns:
    several = len(dataset.target_type) > 1
    values: dict[str, Any] = {"image": dataset.images}
    fields = [Field("image", "image")]
    by_id = sorted((c.id, c.name) for c in dataset.classes if c.id >= 0)
    for number, kind in enumerate(dataset.target_type):
        is_json = kind == "polygon"
        name = "polygons" if is_json else f"{kind}_mask" if several else "mask"
        names = tuple(name for _, name in by_id) if kind == "semantic" else None
        fields.append(Field(name, "json") if is_json else Field(name, "mask", names=names))
        values[name] = [targets[number] for targets in dataset.targets]
    return _Columns(values, fields)


def _oxford_pet(dataset: Any) -> _Columns | None:
    if "segmentation" not in dataset._target_types:
        return None
    columns = {
        "category": ("label", np.asarray(dataset._labels, np.int64)),
        "binary-category": ("species", np.asarray(dataset._bin_labels, np.int64)),
        "segmentation": ("mask", dataset._segs),
    }
    values = {"image": dataset._images} | dict(columns[kind] for kind in dataset._target_types)
    species = Field("species", "class_label", names=tuple(dataset.bin_classes))
    label = Field("label", "class_label", names=tuple(dataset.classes))
    every = [Field("image", "image"), Field("mask", "mask"), label, species]
    return _Columns(values, [field for field in every if field.name in values])


_EXTRACT: dict[str, Callable[[Any], _Columns | None]] = {
    "Cityscapes": _cityscapes,
    "OxfordIIITPet": _oxford_pet,
    "VOCSegmentation": _voc,
}


def _columns_of(dataset: Any) -> _Columns | None:
    """Return the files of a dataset of torchvision that only opens images and masks, or of a `Subset` of one."""
    if _is_plain_subset(dataset):
        inner = _columns_of(dataset.dataset)
        chosen = None if inner is None else _chosen(dataset, len(dataset.dataset))
        if inner is None or chosen is None:
            return None
        rows = chosen.tolist()
        return _Columns({k: _at(values, rows) for k, values in inner.values.items()}, inner.fields)
    torchvision = sys.modules.get("torchvision.datasets")  # not loaded: cannot be one of its own
    changes = ("transform", "target_transform", "transforms")
    if torchvision is None or any(getattr(dataset, name, None) is not None for name in changes):
        return None
    read = getattr(type(dataset), "__getitem__", None)
    found = (f for name, f in _EXTRACT.items() if read is getattr(torchvision, name).__getitem__)
    extract = next(found, None)
    # VOCDetection shares its base class with VOCSegmentation, but not what reads a sample.
    return extract(dataset) if extract else None


def _at(values: Any, rows: list[int]) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]


def is_segmentation(dataset: Any) -> bool:
    """Tell whether `SegmentationSource` takes this dataset."""
    return _columns_of(dataset) is not None


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
        columns = _columns_of(dataset)
        if columns is None:
            raise InputError(
                f"{type(dataset).__name__} does more than open images and masks: give it to DatasetSource, "
                "or leave out its transform"
            )
        name = type(_unwrapped(dataset)).__name__
        values = {k: v if isinstance(v, np.ndarray) else _source_of_paths(v) for k, v in columns.values.items()}
        super().__init__(values, columns.fields, {"dataset": name})


def _source_of_paths(paths: Sequence[Any]) -> PathSource:
    """Return the files of a list of paths, in its order."""
    here = os.getcwdb()
    absolute = [os.path.normpath(os.path.join(here, os.fsencode(path))) for path in paths]
    folder = os.path.commonpath([os.path.dirname(path) for path in absolute]) if absolute else here
    root, names = _relative(absolute, folder)
    found = [checked_status(path) for path in absolute]
    files = (FileStatus(name, s.st_size, s.st_mtime_ns) for name, s in zip(names, found, strict=True))
    return source_of(root, files)
