"""Masks: images whose pixel values are ids, which nothing may alter.

An image's mode tells how to show it; a mask's pixels are numbers. So the ids of
a palette mask are its indices, of a 16-bit one its 16-bit values, and of a
1-bit one False and True (not 0 and 255). They are only ever encoded without
loss and resized to the nearest pixel.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.images.decode import EncodedImage, ImageLike, channels_first, channels_last, to_pil
from shardwright.base.images.encode import encode

__all__ = ["encode_ids", "ids_as_tensor", "ids_to_pil", "ids_to_tensor", "palette_of", "to_ids"]

_NATIVE = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK")
# torch does little with these types; the next wider one holds every value.
_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64}


def to_ids(mask: ImageLike) -> NDArray[Any]:
    """Return the pixel values of a mask as they are, or raise `InputError`."""
    if isinstance(mask, (EncodedImage, bytes)):
        mask = to_pil(mask)
    if isinstance(mask, Image.Image):
        return _ids_of_pil(mask)
    array = _whole(_without_channel(mask if isinstance(mask, torch.Tensor) else np.asarray(mask)))
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf" or not array.size:
        raise InputError(
            f"an array of shape {array.shape} and type {array.dtype} is no mask: give (height, width) or "
            "(height, width, channels) of numbers"
        )
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _without_channel(mask: NDArray[Any] | torch.Tensor) -> NDArray[Any]:
    """Return a mask (H, W[, C]); of one channel, first or last, as (H, W)."""
    if mask.ndim == 3 and mask.shape[0] == 1 and mask.shape[2] not in (3, 4):
        mask = mask[0]
    elif mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[:, :, 0]
    return channels_last(mask)


def _whole(ids: NDArray[Any]) -> NDArray[Any]:
    """Return ids that came as fractions as whole numbers, if that is what they are."""
    if ids.dtype.kind != "f":
        return ids
    with np.errstate(invalid="ignore"):
        whole = ids.astype(np.int64)
    if not np.array_equal(whole, ids):
        raise InputError(
            f"a mask holds {ids[whole != ids].flat[0]}, which is no whole id: round the ids in the dataset, or store "
            "the numbers as they are, with the kind 'array'"
        )
    return whole


def _ids_of_pil(image: Image.Image) -> NDArray[Any]:
    if image.mode in _NATIVE:
        return np.array(image)
    values = np.asarray(image)
    deep = image.mode == "I" or image.mode.startswith("I;16")
    if not deep or values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"a mask of mode {image.mode!r} must hold whole numbers from 0 to 65535; store others as an array"
        )
    return values.astype(np.uint16)


def palette_of(mask: Any) -> tuple[int, ...] | None:
    """Return the colours of a palette mask (R, G, B of id 0, of id 1, ...); ``None`` if it has none."""
    if isinstance(mask, EncodedImage):
        mask = to_pil(mask)
    if not isinstance(mask, Image.Image) or mask.mode != "P":
        return None
    return tuple(mask.getpalette("RGB") or ()) or None


def ids_to_pil(ids: NDArray[Any], palette: tuple[int, ...] | None = None) -> Image.Image:
    """Return ids as a PIL image, in the palette's colours if there is one, or raise `ConfigError`."""
    try:
        image = Image.fromarray(np.ascontiguousarray(ids))
    except TypeError:
        raise ConfigError(
            f"a mask of shape {ids.shape} and type {ids.dtype} is no PIL image; read it with output='numpy' or "
            "'tensor', or store it as an array field"
        ) from None
    if palette and image.mode == "L":
        image.putpalette(list(palette))
    return image


def ids_to_tensor(ids: NDArray[Any]) -> torch.Tensor:
    """Return ids as a tensor (H, W) or (C, H, W); 16-bit ones as int32, since torch hardly computes with uint16."""
    return ids_as_tensor(torch.from_numpy(ids))


def ids_as_tensor(ids: torch.Tensor, batch: bool = False) -> torch.Tensor:
    """Return ids (H, W[, C]), or with `batch` (N, H, W[, C]), channels first and in a type torch computes with."""
    ids = ids.to(_WIDER.get(ids.dtype, ids.dtype))
    return ids if ids.ndim == 2 + batch else channels_first(ids, batch)


def encode_ids(mask: ImageLike, palette: tuple[int, ...] | None = None) -> bytes:
    """Encode a mask without loss, or raise `InputError` or `ConfigError`."""
    if not isinstance(mask, Image.Image) or mask.mode == "I":
        mask = ids_to_pil(_for_file(to_ids(mask)), palette)
    return encode(_with_all_colours(mask))


def _for_file(ids: NDArray[Any]) -> NDArray[Any]:
    """Return ids in a type that an image file holds: wide ones with 16 bits, in every file of a split alike."""
    if ids.ndim != 2 or ids.dtype in (np.uint8, np.uint16, np.bool_):
        return ids
    low, high = ids.min(), ids.max()
    if low < 0 or high > 65535:
        raise ConfigError(
            f"a mask holds ids from {low} to {high}, image files hold 0 to 65535: give others for those outside, as "
            "255 for what is ignored, or store the numbers as they are, with the kind 'array'"
        )
    return ids.astype(np.uint16)


def _with_all_colours(mask: Image.Image) -> Image.Image:
    """Give every id a colour: the PNG encoder drops bits of ids that have none (255, "ignore", above all)."""
    if mask.mode != "P":
        return mask
    palette = mask.getpalette("RGB") or []
    if np.asarray(mask).max() < len(palette) // 3:
        return mask
    mask = mask.copy()
    mask.putpalette([*palette, *bytes(768 - len(palette))])
    return mask
