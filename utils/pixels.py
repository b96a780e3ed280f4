"""The steps of the fused transforms on single images: crop, resize and normalize into given memory.

Everything works on channels-last uint8, for which torch has its fastest kernels, and writes
into buffers that are used again: fresh memory costs more than the arithmetic.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Normalizer", "Workspace", "as_batch", "crop", "resize_into"]

Pixels = NDArray[np.uint8]


class Workspace:
    """Named buffers of one thread, each as large as the largest need so far."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def pixels(self, name: str, shape: tuple[int, int, int]) -> Pixels:
        """Return a buffer as uint8 (H, W, C); what it holds is undefined."""
        size = shape[0] * shape[1] * shape[2]
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size + size // 4, np.uint8)
        return buffer[:size].reshape(shape)


def as_batch(image: Pixels) -> Tensor:
    """Return (H, W, C) pixels as a channels-last batch (1, C, H, W), without a copy."""
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def crop(image: Pixels, window: Sequence[int], flip: bool, space: Workspace) -> Tensor:
    """Cut a window out of an image.

    Parameters
    ----------
    image : uint8, shape (H, W, C)
    window : sequence of int
        Top, left, height, width.
    flip : bool
        Whether to turn left and right.
    space : Workspace

    Returns
    -------
    uint8 tensor (1, C, height, width), channels-last
        It may lie in `image` or `space`.
    """
    top, left, height, width = window
    part = image[top : top + height, left : left + width]
    if flip:
        return as_batch(part).flip(-1)
    if width != image.shape[1]:
        copy = space.pixels("crop", (height, width, image.shape[2]))
        np.copyto(copy, part)
        part = copy
    return as_batch(part)


def resize_into(batch: Tensor, out: Tensor) -> None:
    """Resize a channels-last uint8 batch of one, bilinearly with antialias, into `out`.

    It is what ``torch.nn.functional.interpolate`` calls, without its checks and its fresh memory.
    """
    torch._C._nn._upsample_bilinear2d_aa(batch, out.shape[-2:], False, out=out)  # type: ignore[call-arg]


class Normalizer:
    """(pixel / 255 - mean) / std for one size of image, from uint8 into any float type.

    Parameters
    ----------
    size : (int, int)
        Height and width.
    mean, std : sequence of float
        One value per channel, for pixels from 0 to 1.
    dtype : torch.dtype
    """

    def __init__(self, size: tuple[int, int], mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._rows = (size[0], size[1] * len(mean))
        per_channel = torch.tensor([mean, std], dtype=torch.float64)
        # As long as a row of pixels, so that the inner loop has no channels of three to deal with.
        self._factor = (1 / (255 * per_channel[1])).float().repeat(size[1])
        self._offset = (-per_channel[0] / per_channel[1]).float().repeat(size[1])

    def __call__(self, pixels: Tensor, out: Tensor, space: Workspace) -> None:
        """Normalize an image.

        Parameters
        ----------
        pixels : uint8 (H, W, C)
        out : (H, W, C) of `dtype`
        space : Workspace
        """
        target = out.view(self._rows)
        wide = target if self.dtype == torch.float32 else self._scratch(space)
        wide.copy_(pixels.view(self._rows))
        torch.addcmul(self._offset, wide, self._factor, out=target)

    def _scratch(self, space: Workspace) -> Tensor:
        return torch.from_numpy(space.pixels("wide", (*self._rows, 4))).view(torch.float32)[..., 0]
