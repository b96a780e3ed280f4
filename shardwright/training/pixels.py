"""The steps of the fused transforms on single images: crop, resize and normalize into given memory.

Everything works on channels-last uint8, for which torch has its fastest kernels, and writes
into buffers that are used again: fresh memory costs more than the arithmetic.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shardwright.base.images.resize import as_batch, resize_into

__all__ = ["Normalizer", "Workspace", "crop", "crop_and_resize"]

Pixels = NDArray[np.uint8]


class Workspace:
    """Named buffers of one thread, each as large as the largest need so far."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        self._batches: dict[tuple[str, int, int], Tensor] = {}
        self._rows: dict[tuple[int, int], Tensor] = {}

    def pixels(self, name: str, shape: tuple[int, int, int]) -> Pixels:
        """Return a buffer as uint8 (H, W, C); what it holds is undefined."""
        size = shape[0] * shape[1] * shape[2]
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size + size // 4, np.uint8)
        return buffer[:size].reshape(shape)

    def batch(self, name: str, size: tuple[int, int]) -> Tensor:
        """Return a buffer of a size that comes again and again, uint8 (1, 3, H, W), channels-last."""
        key = (name, *size)
        if key not in self._batches:
            self._batches[key] = as_batch(np.empty((*size, 3), np.uint8))
        return self._batches[key]

    def rows(self, shape: tuple[int, int]) -> Tensor:
        """Return a float32 buffer of a shape that comes again and again."""
        if shape not in self._rows:
            self._rows[shape] = torch.empty(shape)
        return self._rows[shape]


def crop(image: Pixels, window: Sequence[int], space: Workspace) -> Tensor:
    """Cut a window out of an image."""
    top, left, height, width = window
    part = image[top : top + height, left : left + width]
    if not part.flags.c_contiguous:
        copy = space.pixels("crop", part.shape)
        np.copyto(copy, part)
        part = copy
    return as_batch(part)


def crop_and_resize(
    image: Pixels, window: Sequence[int], flip: bool, size: tuple[int, int], space: Workspace
) -> Tensor:
    """Cut a window out of an image, bring it to a size, and turn left and right if `flip`."""
    out = space.batch("resized", size)
    top, left, height, width = window
    if flip and height * width < size[0] * size[1]:  # whatever has fewer pixels is turned
        part = torch.from_numpy(image[top : top + height, left : left + width])
        resize_into(part.flip(1).permute(2, 0, 1).unsqueeze(0), out)
        return out
    resize_into(crop(image, window, space), out)
    return out.flip(3) if flip else out


class Normalizer:
    """(pixel / 255 - mean) / std for one size of image, from uint8 into any float type."""

    def __init__(self, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> None:
        self._shape = (size[0], size[1] * len(mean))
        per_channel = torch.tensor([mean, std], dtype=torch.float64)
        # As long as a row of pixels, so that the inner loop has no channels of three to deal with.
        self._factor = (1 / (255 * per_channel[1])).float().repeat(size[1])
        self._offset = (-per_channel[0] / per_channel[1]).float().repeat(size[1])

    def __call__(self, batch: Tensor, out: Tensor, space: Workspace) -> None:
        """Normalize an image."""
        wide = space.rows(self._shape)  # stays in the cache, while `out` is far away
        wide.copy_(batch.permute(0, 2, 3, 1).view(self._shape))
        torch.addcmul(self._offset, wide, self._factor, out=out.view(self._shape))
