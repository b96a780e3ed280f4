"""Images: decode, encode, convert and resize, in one way for the whole library.

Pure functions on three kinds of image: a PIL image, an array (height, width[, channels]) and
the bytes of an image file (`EncodedImage`). Conversion, readers, loaders and
`ResizeAndConvert` all call these, so a pixel never depends on the way it took.
"""

from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from PIL import Image

from shardwright.base.arguments import check_choice, check_height_width
from shardwright.base.images.decode import (
    EXIF,
    Array,
    EncodedImage,
    Exif,
    ImageLike,
    decode,
    decode_pil,
    to_array,
    to_pil,
)
from shardwright.base.images.encode import encode
from shardwright.base.images.jpeg import DECODERS, Decoder
from shardwright.base.images.modes import MODES, to_mode
from shardwright.base.images.pillow import MAX_PIXELS
from shardwright.base.images.probe import ImageInfo, probe
from shardwright.base.images.resize import resize

__all__ = [
    "DECODERS",
    "EXIF",
    "MAX_PIXELS",
    "MODES",
    "Decoder",
    "EncodedImage",
    "Exif",
    "ImageInfo",
    "ImageLike",
    "ResizeAndConvert",
    "decode",
    "decode_pil",
    "encode",
    "probe",
    "resize",
    "to_array",
    "to_mode",
    "to_pil",
]


@dataclass(frozen=True)
class ResizeAndConvert:
    """Bring images to one size and mode, exactly as the converters do it.

    The mode is changed first, then the size. A PIL image, an `EncodedImage` and bytes give a
    PIL image, an array (height, width[, channels]) gives an array, a tensor (channels, height,
    width) a tensor.

    Parameters
    ----------
    size : (int, int)
        Height and width, in pixels.
    mode : str
        One of `MODES`.
    exif : {"ignore", "apply"}
        Whether files and PIL images are turned before as their EXIF orientation says.

    Raises
    ------
    ConfigError
        If `size`, `mode` or `exif` is wrong.

    Examples
    --------
    >>> from PIL import Image
    >>> ResizeAndConvert(size=(32, 48), mode="L")(Image.new("RGB", (640, 480))).size
    (48, 32)
    """

    size: tuple[int, int] = (224, 224)
    mode: str = "RGB"
    exif: Exif = "ignore"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_height_width("size", self.size))
        check_choice("mode", self.mode, MODES)
        check_choice("exif", self.exif, EXIF)

    @overload
    def __call__(self, image: Image.Image | EncodedImage | bytes) -> Image.Image: ...
    @overload
    def __call__(self, image: Array) -> Array: ...
    @overload
    def __call__(self, image: torch.Tensor) -> torch.Tensor: ...

    def __call__(self, image: ImageLike) -> Image.Image | Array | torch.Tensor:
        """Return the image in this size and mode."""
        pixels = resize(to_array(image, self.mode, exif=self.exif), self.size)
        if isinstance(image, torch.Tensor):
            return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1).contiguous()
        return pixels if isinstance(image, np.ndarray) else Image.fromarray(pixels)
