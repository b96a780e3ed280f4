"""Turn image files, PIL images, arrays and tensors into arrays and PIL images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from shardwright.base.arguments import check_choice
from shardwright.base.errors import InputError, UnsupportedImageError
from shardwright.base.images.info import KEPT, jpeg_info, may_be_turned
from shardwright.base.images.jpeg import Decoder, decode_jpeg
from shardwright.base.images.modes import to_mode
from shardwright.base.images.pillow import open_image, upright
from shardwright.base.images.probe import Buffer, is_png, probe

__all__ = [
    "EXIF",
    "Array",
    "EncodedImage",
    "Exif",
    "ImageLike",
    "channels_first",
    "channels_last",
    "decode",
    "decode_pil",
    "to_array",
    "to_pil",
]

Array: TypeAlias = npt.NDArray[Any]
Exif: TypeAlias = Literal["ignore", "apply"]
EXIF = ("ignore", "apply")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image as the bytes of its own file.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        Its file name, for messages and for formats that store it.
    """

    data: bytes
    name: str = ""


ImageLike: TypeAlias = Image.Image | Array | torch.Tensor | EncodedImage | bytes


def decode(data: Buffer, mode: str | None = None, *, exif: Exif = "ignore", decoder: Decoder = "auto") -> Array:
    """Decode an image file to an array.

    Parameters
    ----------
    data : bytes
        The whole file.
    mode : str, optional
        One of `MODES`, or the image's own mode, which is the default.
    exif : {"ignore", "apply"}
        Whether the image is turned as its EXIF orientation says. Ignored by default, as by
        torchvision's ``ImageFolder``.
    decoder : {"auto", "fast", "pillow", "torchcodec"}
        What decodes a JPEG, see `decode_jpeg`; all else goes through Pillow. Only "fast" gives
        other pixels.

    Returns
    -------
    numpy.ndarray
        C-contiguous. uint8 (H, W) for "L", "1" (as 0 and 255) and "P" (its indices),
        (H, W, 3) for "RGB", (H, W, 4) for "RGBA", "LA" (as RGBA) and "CMYK"; uint16 (H, W)
        for "I;16".

    Raises
    ------
    InputError
        If the file is damaged, truncated or no image.
    UnsupportedImageError
        If its format or mode is not read.
    LimitError
        If it has more than `MAX_PIXELS` pixels.
    ConfigError
        If `mode` or `decoder` is unknown, or `decoder` is not installed.
    """
    return _as_array(_decoded(data, mode, exif, decoder), mode)


def decode_pil(
    data: Buffer, mode: str | None = None, *, exif: Exif = "ignore", decoder: Decoder = "auto"
) -> Image.Image:
    """Decode an image file to a PIL image; the pixels are those of `decode`, the `info` is Pillow's own.

    Parameters
    ----------
    data : bytes
        The whole file.
    mode : str, optional
        One of `MODES`, or the image's own mode, which is the default: a palette image then
        stays one.
    exif, decoder
        As for `decode`.

    Raises
    ------
    InputError, UnsupportedImageError, LimitError, ConfigError
        As for `decode`.
    """
    data = bytes(data)
    pixels = _decoded(data, mode, exif, decoder)
    image = _as_pil(pixels, mode)
    if isinstance(pixels, np.ndarray):
        image.info = jpeg_info(data)
    elif image is not pixels:
        for key in KEPT:
            if key in pixels.info:
                image.info.setdefault(key, pixels.info[key])
    return image


def _decoded(data: Buffer, mode: str | None, exif: Exif, decoder: Decoder) -> Array | Image.Image:
    """Return the pixels, of most JPEGs as an array; they need not have the mode yet."""
    data = bytes(data)  # bytes stay the same object
    turned = check_choice("exif", exif, EXIF) == "apply" and may_be_turned(data)
    array = None if turned else decode_jpeg(data, mode, decoder)
    if array is not None:
        return array
    if is_png(data):
        probe(data)  # takes microseconds, and Pillow does not miss the end of a PNG
    return open_image(data, load=True, turn=turned, rounded=True)


# By type and number of channels.
_MODES = {("b1",): "1", ("u1",): "L", ("u2",): "I;16", ("u1", 3): "RGB", ("u1", 4): "RGBA"}


def _mode_of(array: Array) -> str:
    """Return the mode of an array, or say why it is no image."""
    mode = _MODES.get((array.dtype.str[1:], *array.shape[2:]))
    if mode is None or array.ndim < 2 or not array.size:
        raise UnsupportedImageError(
            f"an array of shape {array.shape} and type {array.dtype} is no image: give (height, "
            "width) of uint8, uint16 or bool, or (height, width, 3 or 4) of uint8 (tensors: "
            "channels first); store other arrays as array fields"
        )
    return mode


def _as_pil(image: Array | Image.Image, mode: str | None) -> Image.Image:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    return image if mode is None else to_mode(image, mode)


def _as_array(image: Array | Image.Image, mode: str | None) -> Array:
    """Return pixels in one of the shapes that `decode` promises."""
    if isinstance(image, np.ndarray) and (mode is None or _mode_of(image) == mode):
        return image
    image = _as_pil(image, mode)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("LA", "PA", "La", "RGBa"):
        image = to_mode(image, "RGBA")
    elif image.mode not in ("L", "P", "RGB", "RGBA", "CMYK"):
        image = to_mode(image, "I;16" if image.mode.startswith("I;16") else "RGB")
    return np.array(image)


def channels_last(image: Array | torch.Tensor) -> Array:
    """Return an array (H, W[, C]) or a tensor ([C, ]H, W) as an array (H, W[, C]); of one channel as (H, W)."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()
    return image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image


def channels_first(pixels: torch.Tensor, batch: bool = False) -> torch.Tensor:
    """Return (H, W[, C]) as (C, H, W), or with `batch` (N, H, W[, C]) as (N, C, H, W), without a copy."""
    return pixels.movedim(-1, -3) if pixels.ndim == 3 + batch else pixels.unsqueeze(-3)


def _pixels_of(image: object, exif: Exif) -> Array | Image.Image:
    """Return a PIL image as it is, or turned upright, an array or tensor as one of the arrays that Pillow takes."""
    if isinstance(image, Image.Image):
        return upright(image) if exif == "apply" else image
    if not isinstance(image, (np.ndarray, torch.Tensor)):
        raise UnsupportedImageError(
            f"a {type(image).__name__} is no image: give a PIL image, an array, a tensor or the bytes of an image file"
        )
    array = channels_last(image)
    if _mode_of(array) == "1":
        array = array.astype(np.uint8) * np.uint8(255)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def to_array(image: ImageLike, mode: str | None = None, *, exif: Exif = "ignore") -> Array:
    """Return anything image-like as an array.

    Parameters
    ----------
    image : PIL.Image.Image, numpy.ndarray, torch.Tensor, EncodedImage or bytes
        Arrays are (H, W) or (H, W, C), tensors (H, W) or (C, H, W), with C of 1, 3 or 4;
        uint8, or without channels also uint16 and bool.
    mode : str, optional
        As for `decode`.
    exif : {"ignore", "apply"}
        As for `decode`; arrays and tensors have none.

    Returns
    -------
    numpy.ndarray
        As from `decode`; it may share the memory of `image`.

    Raises
    ------
    UnsupportedImageError
        If an array has another shape or type: values are never rescaled silently.
    InputError, LimitError, ConfigError
        As for `decode`.
    """
    if isinstance(image, EncodedImage | bytes):
        return _named(decode, image, mode, exif)
    return _as_array(_pixels_of(image, exif), mode)


def to_pil(image: ImageLike, mode: str | None = None, *, exif: Exif = "ignore") -> Image.Image:
    """Return anything image-like as a PIL image.

    Parameters
    ----------
    image : PIL.Image.Image, numpy.ndarray, torch.Tensor, EncodedImage or bytes
        As for `to_array`.
    mode, exif
        As for `to_array`.

    Raises
    ------
    UnsupportedImageError, InputError, LimitError, ConfigError
        As for `to_array`.
    """
    if isinstance(image, EncodedImage | bytes):
        return _named(decode_pil, image, mode, exif)
    return _as_pil(_pixels_of(image, exif), mode)


def _named(function: Callable[..., Result], image: EncodedImage | bytes, mode: str | None, exif: Exif) -> Result:
    """Decode, and name the file in the error if it has a name."""
    if isinstance(image, bytes):
        return function(image, mode, exif=exif)
    try:
        return function(image.data, mode, exif=exif)
    except InputError as error:
        if not image.name:
            raise
        raise type(error)(f"{image.name}: {error}") from error
