"""Random numbers and windows for whole batches of crops: pure functions of arrays.

Every random number is a hash of (seed, epoch, position in the epoch, sample), so it depends
neither on the number of threads nor on the batch size, and nothing has to be stored to go on
in the middle of an epoch. The hash is SplitMix64.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CROP_DRAWS",
    "Window",
    "center_window",
    "random_windows",
    "shorter_side",
    "shrink_factor",
    "shrunk_window",
    "uniforms",
]

Window = tuple[int, int, int, int]
"""Top, left, height and width."""

_TRIES = 10
CROP_DRAWS = 2 * _TRIES + 2
"""Random numbers that one call of `random_windows` takes per image."""

_STEP = np.uint64(0x9E3779B97F4A7C15)


def uniforms(
    seed: int, epoch: int, positions: NDArray[np.int64], samples: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Return `count` numbers from [0, 1) for each sample."""
    start = np.array([seed % 2**64, epoch], dtype=np.uint64)
    key = _mixed(_mixed(start[:1]) + start[1:])
    rows = _mixed(_mixed(key + positions.astype(np.uint64)) + samples.astype(np.uint64))
    steps = np.arange(1, count + 1, dtype=np.uint64) * _STEP
    bits = _mixed(rows[:, None] + steps)
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def random_windows(
    sizes: NDArray[np.int64], numbers: NDArray[np.float64], scale: Sequence[float], ratio: Sequence[float]
) -> NDArray[np.int64]:
    """Draw windows as torchvision's ``RandomResizedCrop`` does."""
    height, width = sizes[:, :1], sizes[:, 1:]
    area = height * width * (scale[0] + (scale[1] - scale[0]) * numbers[:, :_TRIES])
    low, high = np.log(ratio)
    aspect = np.exp(low + (high - low) * numbers[:, _TRIES : 2 * _TRIES])
    heights, widths = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = np.argmax(fits, axis=1)[:, None]
    windows = np.empty((len(sizes), 4), np.int64)
    windows[:, 2:3] = np.take_along_axis(heights, first, 1)
    windows[:, 3:4] = np.take_along_axis(widths, first, 1)
    windows[:, :2] = numbers[:, 2 * _TRIES : CROP_DRAWS] * (sizes - windows[:, 2:] + 1)
    for row in np.flatnonzero(~fits.any(axis=1)):
        windows[row, 2:] = _central(int(sizes[row, 0]), int(sizes[row, 1]), ratio)
        windows[row, :2] = (sizes[row] - windows[row, 2:]) // 2
    return windows


def _central(height: int, width: int, ratio: Sequence[float]) -> tuple[int, int]:
    """Return the size of the window when no try fitted: as large as the ratios allow."""
    if width / height < min(ratio):
        return round(width / min(ratio)), width
    if width / height > max(ratio):
        return height, round(height * max(ratio))
    return height, width


def shorter_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the size that torchvision's ``Resize(size)`` gives: the shorter side becomes `size`."""
    if height < width:
        return size, int(size * width / height)
    return int(size * height / width), size


def center_window(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return top and left of torchvision's ``CenterCrop(size)``."""
    return round((height - size[0]) / 2), round((width - size[1]) / 2)


def shrink_factor(window: Window, size: tuple[int, int]) -> int:
    """Return the largest of 1, 2, 4 and 8 by which a window can shrink and still be twice as large as `size`.

    The resize that follows then smooths far more than the shrinking did. With no such reserve
    the difference to a resize alone is three times as large.
    """
    room = min(window[2] // size[0], window[3] // size[1])
    return 8 if room >= 16 else 4 if room >= 8 else 2 if room >= 4 else 1


def shrunk_window(window: Window, shrink: int) -> Window:
    """Return the window in an image that was shrunk, moved to whole pixels there."""
    top, left, height, width = window
    return top // shrink, left // shrink, height // shrink, width // shrink
