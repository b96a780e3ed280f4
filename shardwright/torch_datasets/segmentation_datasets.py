"""torchvision's segmentation datasets: the files of images and masks, stored as they are."""

from typing import Any

import numpy as np

from shardwright.folders.files import PathSource, listed_files
from shardwright.folders.paired import PairedFilesSource
from shardwright.torch_datasets.torchvision_files import VOC_CLASSES, WITH_MASKS, files_of, needed_files_of, unwrapped

__all__ = ["VOC_CLASSES", "SegmentationSource", "is_segmentation"]


def is_segmentation(dataset: Any) -> bool:
    """Tell whether `SegmentationSource` takes this dataset."""
    return files_of(dataset, WITH_MASKS) is not None


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
        found = needed_files_of(dataset, WITH_MASKS, "images and masks", "transform")
        columns = [(f, v if isinstance(v, np.ndarray) else PathSource(*listed_files(v))) for f, v in found]
        super().__init__(columns, {"dataset": type(unwrapped(dataset)).__name__})
