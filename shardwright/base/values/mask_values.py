"""Which values of a sample are masks: by their names, and by the size of the image beside them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage
from shardwright.base.images.probe import ImageInfo, probe

__all__ = ["image_kind", "image_size", "is_mask", "is_of_size", "mask_field", "shown_type", "squeezed_shape"]

_CHANNELS = (1, 3, 4)
_ID_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")
# A picture of this name is a mask only if its pixels can be ids: the target may be a picture in colours, too.
_BY_PIXELS = ("target", "targets")
_NAMES = ("mask", "masks", "label", "labels", "annotation", "annotations", "gt")


def image_kind(name: str) -> str:
    """Return whether an image called `name`, of which nothing else is known, is a "mask" or an "image"."""
    return "mask" if name in _NAMES or name.startswith("seg") or name.endswith(("_mask", "_masks")) else "image"


def _may_be_mask(name: str) -> bool:
    return image_kind(name) == "mask" or name in _BY_PIXELS


def image_size(sample: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width of a sample's image; ``None`` if it has none, or if that cannot be told."""
    names = ("image", *(name for name in sample if name != "image" and not _may_be_mask(name)))
    return next((size for name in names if name in sample and (size := _size_of(sample[name]))), None)


def _size_of(value: Any) -> tuple[int, int] | None:
    if isinstance(value, Image.Image):
        return value.height, value.width
    if isinstance(value, EncodedImage):
        info = _probed(value)
        return None if info is None else (info.height, info.width)
    return _size_of_array(value) if isinstance(value, (np.ndarray, torch.Tensor)) else None


def _size_of_array(value: Any) -> tuple[int, int] | None:
    """Return the size of pixels; channels come first in tensors, and in arrays if they cannot come last."""
    shape = tuple(value.shape)
    if len(shape) == 2:
        return shape
    if len(shape) != 3 or not (shape[0] in _CHANNELS or shape[2] in _CHANNELS):
        return None
    first = shape[0] in _CHANNELS and (isinstance(value, torch.Tensor) or shape[2] not in _CHANNELS)
    return shape[1:] if first else shape[:2]


def _probed(value: EncodedImage) -> ImageInfo | None:
    try:
        return probe(value.data, load=False)
    except InputError:  # told when it is packed
        return None


def squeezed_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a mask without axes of one channel, first or last."""
    if len(shape) == 3 and shape[0] == 1:
        return shape[1:]
    return shape[:2] if len(shape) == 3 and shape[2] == 1 else shape


def is_mask(name: str, value: Any, size: tuple[int, int] | None) -> bool:
    """Whether a value called `name`, beside an image of `size` (height, width), is a mask of that image.

    Pictures are told by name; arrays of whole numbers by the image's size too, so that boxes and key points are none.
    """
    if isinstance(value, Image.Image):
        return image_kind(name) == "mask" or (name in _BY_PIXELS and value.mode in _ID_MODES)
    if isinstance(value, EncodedImage):
        info = _probed(value) if name in _BY_PIXELS else None
        return image_kind(name) == "mask" or (info is not None and info.mode in _ID_MODES)
    return _may_be_mask(name) and is_of_size(value, size)


def is_of_size(value: Any, size: tuple[int, int] | None) -> bool:
    """Whether a value is an array with one number for each pixel of an image."""
    if not isinstance(value, (np.ndarray, torch.Tensor)) or size is None:
        return False
    return squeezed_shape(tuple(value.shape)) == size


def mask_field(name: str, value: Any, size: tuple[int, int] | None) -> Field | None:
    """Return the field of a mask, or of one mask per object (n, H, W); ``None`` if the value is neither.

    Raises
    ------
    InputError
        If it has the size of the image and holds fractions: the message says what to pass.
    """
    if is_mask(name, value, size):
        if isinstance(value, (np.ndarray, torch.Tensor)):
            _refuse_fractions(name, value)
        return Field(name, "mask")
    if not isinstance(value, (np.ndarray, torch.Tensor)) or size is None or not _may_be_mask(name):
        return None
    if value.ndim == 3 and tuple(value.shape[1:]) == size and _is_whole_type(value):
        return Field(name, "array", of_masks=True)
    return None


def _is_whole_type(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not (value.is_floating_point() or value.is_complex())
    return value.dtype.kind in "biu"


def _refuse_fractions(name: str, value: Any) -> None:
    """Raise unless all values are whole: fractions cannot be ids."""
    if _is_whole_type(value):
        return
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
    if array.dtype.kind != "f" or not np.array_equal(array, np.rint(array)):
        raise InputError(
            f"field {name!r} has the size of the image and holds {shown_type(value)}, not whole ids: to store the "
            f"numbers as they are, pass fields=[Field({name!r}, 'array')]; to store ids, round them in the dataset"
        )


def shown_type(value: Any) -> str:
    """Return type and shape of an array for a message."""
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
