"""Images: decode, encode, convert and resize, in one way for the whole library.

Pure functions on three kinds of image: a PIL image, an array (height, width[, channels]) and
the bytes of an image file (`EncodedImage`). Conversion, readers, loaders and
`ResizeAndConvert` all call these, so a pixel never depends on the way it took.
"""

import io
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from PIL import Image

from shardwright.base.arguments import check_choice
from shardwright.base.errors import ConfigError, UnsupportedImageError
from shardwright.base.images.decode import Array, EncodedImage, ImageLike, decode, decode_pil, to_array, to_pil
from shardwright.base.images.jpeg import DECODERS, Decoder
from shardwright.base.images.modes import MODES, check_mode, to_mode
from shardwright.base.images.pillow import MAX_PIXELS
from shardwright.base.images.probe import ImageInfo, probe
from shardwright.base.images.resize import check_size, resize

__all__ = [
    "DECODERS",
    "MAX_PIXELS",
    "MODES",
    "Decoder",
    "EncodedImage",
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

_HELD = {
    "png": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"),
    "tiff": ("CMYK",),
    "jpeg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
}


def encode(image: Image.Image | Array | torch.Tensor, encoding: str = "png", quality: int | None = None) -> bytes:
    """Encode an image; the same image always gives the same bytes.

    Parameters
    ----------
    image : PIL.Image.Image, numpy.ndarray or torch.Tensor
        As for `to_array`.
    encoding : {"png", "jpeg", "webp"}
        "png" is lossless; CMYK images, which PNG cannot hold, become a TIFF file instead.
    quality : int, optional
        From 1 to 100, for "jpeg" (95 if not given) and "webp" (lossless if not given).

    Raises
    ------
    ConfigError
        If `encoding` or `quality` is unknown, or the encoding cannot hold this mode.
    UnsupportedImageError
        If the image has a mode that is not read back.
    """
    check_choice("encoding", encoding, ("jpeg", "png", "webp"))
    image = to_pil(image)
    if image.mode.startswith("I;16"):
        image = to_mode(image, "I;16")
    kind = "tiff" if encoding == "png" and image.mode in _HELD["tiff"] else encoding
    if image.mode not in _HELD[kind]:
        raise _cannot_hold(image.mode, encoding)
    file = io.BytesIO()
    image.save(file, format=kind.upper(), **_save_options(kind, quality))
    return file.getvalue()


def _cannot_hold(mode: str, encoding: str) -> ConfigError | UnsupportedImageError:
    if any(mode in modes for modes in _HELD.values()):
        return ConfigError(
            f"encoding={encoding!r} cannot hold an image of mode {mode!r}: "
            "use encoding='png', or convert the image to 'RGB' before"
        )
    return UnsupportedImageError(
        f"an image of mode {mode!r} cannot be stored: convert it before, or store it as an array"
    )


def _save_options(kind: str, quality: int | None) -> dict[str, Any]:
    if quality is not None and kind not in ("jpeg", "webp"):
        raise ConfigError(f"quality={quality!r} has no meaning for a lossless encoding")
    if quality is not None and not (type(quality) is int and 1 <= quality <= 100):
        raise ConfigError(f"quality={quality!r}: give a whole number from 1 to 100")
    if kind == "jpeg":
        return {"quality": quality or 95}
    if kind == "webp":
        return {"quality": quality} if quality else {"lossless": True, "exact": True}
    return {"compression": "tiff_adobe_deflate"} if kind == "tiff" else {}


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

    Raises
    ------
    ConfigError
        If `size` or `mode` is wrong.

    Examples
    --------
    >>> from PIL import Image
    >>> ResizeAndConvert(size=(32, 48), mode="L")(Image.new("RGB", (640, 480))).size
    (48, 32)
    """

    size: tuple[int, int] = (224, 224)
    mode: str = "RGB"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self.size))
        check_mode(self.mode)

    @overload
    def __call__(self, image: Image.Image | EncodedImage | bytes) -> Image.Image: ...
    @overload
    def __call__(self, image: Array) -> Array: ...
    @overload
    def __call__(self, image: torch.Tensor) -> torch.Tensor: ...

    def __call__(self, image: ImageLike) -> Image.Image | Array | torch.Tensor:
        """Return the image in this size and mode."""
        pixels = resize(to_array(image, self.mode), self.size)
        if isinstance(image, torch.Tensor):
            return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1).contiguous()
        return pixels if isinstance(image, np.ndarray) else Image.fromarray(pixels)
