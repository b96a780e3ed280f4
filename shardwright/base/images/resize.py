"""The size of images: the one way in which the library changes it, and `Shrink`, which makes large ones smaller."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from shardwright.base.arguments import check_height_width
from shardwright.base.errors import ConfigError, UnsupportedImageError
from shardwright.base.images.decode import EncodedImage, Exif, ImageLike, to_array, to_pil
from shardwright.base.images.masks import to_ids
from shardwright.base.images.probe import probe

__all__ = ["Shrink", "as_batch", "resize", "resize_into"]

Array: TypeAlias = npt.NDArray[Any]
_KERNEL = getattr(torch._C._nn, "_upsample_bilinear2d_aa", None)


def resize(array: Array, size: Sequence[int], nearest: bool = False) -> Array:
    """Resize an array.

    Parameters
    ----------
    array : numpy.ndarray
        (H, W) or (H, W, C) of uint8 or uint16; of any type with `nearest`.
    size : (int, int)
        Height and width, in pixels.
    nearest : bool
        Take the nearest pixel, for masks: exactly Pillow's ``NEAREST``, and no new values
        appear. Otherwise bilinear with antialias, within two gray levels of Pillow's
        ``BILINEAR`` with uint8.

    Returns
    -------
    numpy.ndarray
        C-contiguous, of the same type.

    Raises
    ------
    ConfigError
        If `size` is not two positive whole numbers.
    UnsupportedImageError
        If a bilinear resize of another type is asked for.
    """
    height, width = check_height_width("size", size)
    if array.shape[:2] == (height, width):
        return np.ascontiguousarray(array)
    if nearest:
        rows = _nearest(array.shape[0], height)
        columns = _nearest(array.shape[1], width)
        return np.ascontiguousarray(array[rows[:, None], columns])
    return _bilinear(array, (height, width))


def _nearest(old: int, new: int) -> npt.NDArray[np.intp]:
    """Return the index of the pixel that each new pixel takes, summed up as Pillow does it."""
    step = np.full(new, old / new)
    step[0] /= 2
    return np.minimum(np.cumsum(step).astype(np.intp), old - 1)


def _bilinear(array: Array, size: tuple[int, int]) -> Array:
    if array.dtype not in (np.uint8, np.uint16):
        raise UnsupportedImageError(
            f"an array of type {array.dtype} cannot be resized bilinearly, only uint8 and "
            "uint16: use nearest=True, or convert it before"
        )
    planes = array if array.ndim == 3 else array[:, :, None]
    if array.dtype == np.uint16:
        planes = planes.astype(np.float32)  # holds every 16-bit value exactly
    planes = np.require(planes, requirements=["C", "W"])  # torch takes no other, or warns
    pixels: Array = np.empty((*size, planes.shape[2]), planes.dtype)
    resize_into(as_batch(planes), as_batch(pixels))
    if array.dtype == np.uint16:
        pixels = np.rint(pixels).clip(0, 65535).astype(array.dtype)
    return pixels.reshape(*size, *array.shape[2:])


def as_batch(image: Array) -> torch.Tensor:
    """Return (H, W, C) pixels as a channels-last batch (1, C, H, W), without a copy."""
    return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)


def resize_into(batch: torch.Tensor, out: torch.Tensor) -> None:
    """Resize a channels-last batch of one, bilinearly with antialias, into `out`.

    It is what ``torch.nn.functional.interpolate`` calls, without its checks and its fresh memory,
    whose planar order would cost as much again as the resizing. A torch that has it no more is
    asked for the same by its public name.
    """
    if _KERNEL is None:
        size = out.shape[-2:]
        out.copy_(torch.nn.functional.interpolate(batch, size, mode="bilinear", align_corners=False, antialias=True))
    else:
        _KERNEL(batch, out.shape[-2:], False, out=out)


@dataclass(frozen=True, slots=True)
class Shrink:
    """Bring the longer or the shorter side of images to at most so many pixels.

    The aspect ratio is kept. An image that is small enough is returned as it
    is, its own bytes untouched.

    Parameters
    ----------
    longer_side, shorter_side : int, optional
        Pixels; at most one of the two.

    Raises
    ------
    ConfigError
        If both are given, or one is not a positive whole number.
    """

    longer_side: int | None = None
    shorter_side: int | None = None

    def __post_init__(self) -> None:
        if self.longer_side is not None and self.shorter_side is not None:
            raise ConfigError("give longer_side= or shorter_side=, not both")
        for name in ("longer_side", "shorter_side"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{name}={value!r} must be a whole number of at least 1")

    def __bool__(self) -> bool:
        return self.longer_side is not None or self.shorter_side is not None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the new height and width; those given, if they are small enough."""
        side, limit = max(height, width), self.longer_side
        if self.shorter_side is not None:
            side, limit = min(height, width), self.shorter_side
        if limit is None or side <= limit:
            return height, width
        return max(1, round(height * limit / side)), max(1, round(width * limit / side))

    def __call__(self, image: ImageLike, nearest: bool = False, exif: Exif = "ignore") -> ImageLike:
        """Return the image, or a smaller one as an array, turned as `exif` says; `nearest` is for masks."""
        if nearest and isinstance(image, (np.ndarray, torch.Tensor)):  # ids may be of types that no image has
            ids = to_ids(image)
            return resize(ids, self.size(*ids.shape[:2]), nearest=True)
        info = probe(image.data) if isinstance(image, EncodedImage) else to_pil(image)
        if self.size(info.height, info.width) == (info.height, info.width):
            return image
        pixels = to_ids(image) if nearest else to_array(image, _continuous(image, info.mode), exif=exif)
        return resize(pixels, self.size(*pixels.shape[:2]), nearest=nearest)


def _continuous(image: ImageLike, mode: str) -> str | None:
    """Return the mode in which neighbouring pixels may be averaged; None: its own."""
    if mode in ("P", "PA"):
        return "RGBA" if to_pil(image).has_transparency_data else "RGB"
    return "L" if mode == "1" else None
