"""Training and evaluation transforms that decode, crop, flip, resize and normalize in one go.

They are given to `ThreadedLoader` as ``transform=``, which runs them on whole batches of stored
samples. Each also works on a single image, wherever torchvision's transforms do.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shardwright.base.arguments import check_height_width, check_whole
from shardwright.base.errors import ConfigError
from shardwright.base.images import ImageLike, to_array
from shardwright.base.images.resize import as_batch, resize_into
from shardwright.training.crops import CROP_DRAWS, Window, center_window, random_windows, shorter_side, shrink_factor
from shardwright.training.pixels import Normalizer, Pixels, Workspace, crop, crop_and_resize

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "EvalTransform", "FusedTransform", "TrainTransform"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)


class FusedTransform(ABC):
    """What the fused transforms share: the output's size, type and normalization.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the output, in pixels; an int means a square.
    mean, std : sequence of float
        Per channel, for pixels from 0 to 1.
    dtype : torch.dtype
        float32, float16, bfloat16; or uint8 for plain pixels, which a GPU can normalize
        after a transfer of a quarter of the bytes.
    scaled : bool
        Decode a JPEG at a half, quarter or eighth where the crop is at least twice as large as
        the output even so. Its edges then move to multiples of 2, 4 or 8 pixels; else the
        pixels are 0.4 gray levels off in the mean, and 99 in 100 at most 3.

    Raises
    ------
    ConfigError
        If an argument is wrong.
    """

    draws: ClassVar[int] = 0
    """Random numbers per image."""

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        dtype: torch.dtype = torch.float32,
        scaled: bool = False,
    ) -> None:
        self.size = self._least = _pair(size)  # shrunk below `_least`, pixels would be missing
        if dtype not in DTYPES:
            raise ConfigError(f"dtype={dtype}: choose one of {', '.join(map(str, DTYPES))}")
        if len(mean) != 3 or len(std) != 3 or not all(s > 0 for s in std):
            raise ConfigError(f"mean={mean!r}, std={std!r}: give three numbers each, those of std above 0")
        self.mean, self.std, self.dtype, self.scaled = tuple(mean), tuple(std), dtype, scaled
        self._normalize = Normalizer(self.size, mean, std)

    @abstractmethod
    def windows(self, sizes: NDArray[np.int64], numbers: NDArray[np.float64]) -> list[tuple[Window, bool]]:
        """Decide what to take of each image.

        Parameters
        ----------
        sizes : int64, shape (N, 2)
            Height and width of each image.
        numbers : float64, shape (N, draws)
            Random numbers from [0, 1).

        Returns
        -------
        list of ((top, left, height, width), flip)
        """

    def shrink(self, window: Window) -> int:
        """Return by what a JPEG may be shrunk while it is decoded."""
        return shrink_factor(window, self._least) if self.scaled else 1

    @abstractmethod
    def _resized(self, image: Pixels, window: Window, flip: bool, space: Workspace) -> Tensor:
        """Return the pixels of one image, uint8 (1, 3, *size), channels-last; they may lie in `space`."""

    def apply(self, image: Pixels, window: Window, flip: bool, out: Tensor, space: Workspace) -> None:
        """Transform one image.

        Parameters
        ----------
        image : uint8 (H, W, 3)
            Rows below the window may be missing.
        window, flip
            As from `windows`.
        out : tensor (H, W, 3) of `dtype`
        space : Workspace
        """
        batch = self._resized(image, window, flip, space)
        if self.dtype == torch.uint8:
            out.copy_(batch[0].permute(1, 2, 0))
        else:
            self._normalize(batch, out, space)

    def __call__(self, image: ImageLike) -> Tensor:
        """Transform one image of any kind, with random numbers of torch's global generator.

        Returns
        -------
        tensor (3, H, W) of `dtype`, channels-last
        """
        numbers = torch.rand(1, self.draws, dtype=torch.float64).numpy()
        return self.on_pixels(to_array(image, "RGB"), numbers, Workspace())

    def on_pixels(self, image: Pixels, numbers: NDArray[np.float64], space: Workspace) -> Tensor:
        """Transform one image, uint8 (H, W, 3), with random numbers (1, draws)."""
        [(window, flip)] = self.windows(np.array([image.shape[:2]]), numbers)
        out = torch.empty((*self.size, 3), dtype=self.dtype)
        self.apply(np.require(image, requirements=["C", "W"]), window, flip, out, space)  # torch warns otherwise
        return out.permute(2, 0, 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, mean={self.mean}, std={self.std}, dtype={self.dtype})"


class TrainTransform(FusedTransform):
    """torchvision's ``RandomResizedCrop``, ``RandomHorizontalFlip`` and ``Normalize``, fused.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the output, in pixels.
    scale : (float, float)
        Smallest and largest area of the crop, as a part of the image's.
    ratio : (float, float)
        Smallest and largest width / height of the crop.
    flip : float
        Probability of turning left and right.
    mean, std : sequence of float
        Per channel, for pixels from 0 to 1.
    dtype : torch.dtype
        float32, float16, bfloat16; or uint8 for plain pixels, as for `FusedTransform`.
    scaled : bool
        Decode large JPEGs at a half, quarter or eighth, as for `FusedTransform`.

    Raises
    ------
    ConfigError
        If an argument is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> TrainTransform(32)(np.zeros((40, 60, 3), np.uint8)).shape
    torch.Size([3, 32, 32])
    """

    draws = CROP_DRAWS + 1

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        *,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        dtype: torch.dtype = torch.float32,
        scaled: bool = False,
    ) -> None:
        super().__init__(size, mean=mean, std=std, dtype=dtype, scaled=scaled)
        for name, values in (("scale", scale), ("ratio", ratio)):
            if len(values) != 2 or not 0 < values[0] <= values[1]:
                raise ConfigError(f"{name}={values!r}: give (smallest, largest), both above 0")
        if not 0 <= flip <= 1:
            raise ConfigError(f"flip={flip!r}: give a probability from 0 to 1")
        self.scale, self.ratio, self.flip = tuple(scale), tuple(ratio), flip

    def windows(self, sizes: NDArray[np.int64], numbers: NDArray[np.float64]) -> list[tuple[Window, bool]]:
        """Draw a window and a flip for each image."""
        windows = random_windows(sizes, numbers, self.scale, self.ratio).tolist()
        return list(zip(map(tuple, windows), (numbers[:, -1] < self.flip).tolist(), strict=True))

    def _resized(self, image: Pixels, window: Window, flip: bool, space: Workspace) -> Tensor:
        return crop_and_resize(image, window, flip, self.size, space)


class EvalTransform(FusedTransform):
    """torchvision's ``Resize``, ``CenterCrop`` and ``Normalize``, fused.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the output, in pixels.
    resize : int
        What the shorter side of the image becomes before the crop, in pixels.
    mean, std : sequence of float
        Per channel, for pixels from 0 to 1.
    dtype : torch.dtype
        float32, float16, bfloat16; or uint8 for plain pixels, as for `FusedTransform`.
    scaled : bool
        Decode large JPEGs at a half, quarter or eighth, as for `FusedTransform`.

    Raises
    ------
    ConfigError
        If an argument is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> EvalTransform(32, resize=40)(np.zeros((40, 60, 3), np.uint8)).shape
    torch.Size([3, 32, 32])
    """

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        *,
        resize: int = 256,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        dtype: torch.dtype = torch.float32,
        scaled: bool = False,
    ) -> None:
        super().__init__(size, mean=mean, std=std, dtype=dtype, scaled=scaled)
        if resize < max(self.size):
            raise ConfigError(f"resize={resize} is smaller than size={self.size}: the crop would leave the image")
        self.resize, self._least = resize, (resize, resize)

    def windows(self, sizes: NDArray[np.int64], numbers: NDArray[np.float64]) -> list[tuple[Window, bool]]:
        """Take each image whole."""
        return [((0, 0, height, width), False) for height, width in sizes.tolist()]

    def _resized(self, image: Pixels, window: Window, flip: bool, space: Workspace) -> Tensor:
        height, width = shorter_side(image.shape[0], image.shape[1], self.resize)
        whole = space.pixels("whole", (height, width, 3))
        resize_into(crop(image, window, space), as_batch(whole))
        return crop(whole, (*center_window(height, width, self.size), *self.size), space)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) from one number or two."""
    if isinstance(size, int):
        size = [check_whole("size", size, 1)] * 2
    return check_height_width("size", size, "one number for both")
