"""Resize arrays: the one way in which the library changes the size of an image."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from shardwright.base.errors import ConfigError, UnsupportedImageError

__all__ = ["as_batch", "check_size", "resize", "resize_into"]

Array: TypeAlias = npt.NDArray[Any]


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
    height, width = check_size(size)
    if array.shape[:2] == (height, width):
        return np.ascontiguousarray(array)
    if nearest:
        rows = _nearest(array.shape[0], height)
        columns = _nearest(array.shape[1], width)
        return np.ascontiguousarray(array[rows[:, None], columns])
    return _bilinear(array, (height, width))


def check_size(size: Sequence[int]) -> tuple[int, int]:
    """Return (height, width) as a tuple of plain integers.

    Raises
    ------
    ConfigError
        If `size` is not two positive whole numbers.
    """
    try:
        height, width = (operator.index(n) for n in size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ConfigError(f"size={size!r}: give (height, width), two positive whole numbers")
    return height, width


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
    whose planar order would cost as much again as the resizing.
    """
    torch._C._nn._upsample_bilinear2d_aa(batch, out.shape[-2:], False, out=out)  # type: ignore[call-arg]
