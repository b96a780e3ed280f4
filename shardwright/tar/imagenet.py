"""ImageNet's validation archive, which has neither class folders nor class names of its own."""

import os

from shardwright.base.errors import InputError
from shardwright.folders.imagenet import validation_classes
from shardwright.tar.source import ArchiveSource

__all__ = ["imagenet_validation"]


def imagenet_validation(archive: str | os.PathLike[str], devkit: str | os.PathLike[str]) -> ArchiveSource:
    """Return the validation set as a source whose classes are those of the training archive.

    Parameters
    ----------
    archive : path
        ``ILSVRC2012_img_val.tar``.
    devkit : path
        ``ILSVRC2012_devkit_t12.tar.gz``, or the folder that it unpacks to.

    Raises
    ------
    InputError
        If the two do not belong together, or are no such files.
    ConfigError
        If scipy is not installed.

    Examples
    --------
    >>> source = imagenet_validation(  # doctest: +SKIP
    ...     "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
    ... )
    >>> source.name(0)  # doctest: +SKIP
    'n01440764/ILSVRC2012_val_00000293.JPEG'
    """
    classes = validation_classes(devkit)
    source = ArchiveSource(archive, classes)
    source.labels_from = "ground truth of the development kit"
    if len(source) != len(classes):
        raise InputError(
            f"{archive} holds {len(source)} images, the ground truth in {devkit} tells of {len(classes)}; "
            "use the archive and the development kit of the same year, and download again what is cut"
        )
    return source
