"""Images: decode, encode, convert and resize, in one way for the whole library.

Pure functions on three kinds of image: a PIL image, an array (height, width[, channels]) and
the bytes of an image file (`EncodedImage`). Conversion, readers, loaders and
`ResizeAndConvert` all call these, so a pixel never depends on the way it took.
"""

from __future__ import annotations

import io
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from PIL import Image, ImageOps

from datasets.base.errors import ConfigError, InputError, UnsupportedImageError
from datasets.base.image_modes import MODES, check_mode, to_mode
from datasets.base.image_probe import (
    MAX_PIXELS,
    Buffer,
    ImageInfo,
    as_bytes,
    first_bytes,
    jpeg_header,
    open_image,
    probe,
)

__all__ = [
    "MAX_PIXELS",
    "MODES",
    "EncodedImage",
    "ImageInfo",
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

Array: TypeAlias = npt.NDArray[Any]
Exif: TypeAlias = Literal["ignore", "apply"]
AnyImage = TypeVar("AnyImage", Image.Image, Array, torch.Tensor)


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


# --- decode -------------------------------------------------------------------------------


def decode(data: Buffer, mode: str | None = None, *, exif: Exif = "ignore") -> Array:
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
        If `mode` is unknown.
    """
    data = as_bytes(data)
    array = _decode_jpeg(data, mode) if exif == "ignore" else None
    if array is None:
        return _array_of(_open(data, mode, exif))
    if mode is None or _mode_of(array) == mode:
        return array
    return _array_of(to_mode(Image.fromarray(array), mode))


def decode_pil(data: Buffer, mode: str | None = None, *, exif: Exif = "ignore") -> Image.Image:
    """Decode an image file to a PIL image; the pixels are those of `decode`.

    Parameters
    ----------
    data : bytes
        The whole file.
    mode : str, optional
        One of `MODES`, or the image's own mode, which is the default: a palette image then
        stays one.
    exif : {"ignore", "apply"}
        As for `decode`.

    Raises
    ------
    InputError, UnsupportedImageError, LimitError, ConfigError
        As for `decode`.
    """
    data = as_bytes(data)
    array = _decode_jpeg(data, mode) if exif == "ignore" else None
    if array is None:
        return _open(data, mode, exif)
    image = Image.fromarray(array)
    return image if mode is None else to_mode(image, mode)


def _open(data: bytes, mode: str | None, exif: Exif) -> Image.Image:
    """Decode with Pillow."""
    image = open_image(data, load=True)
    if exif == "apply":
        image = ImageOps.exif_transpose(image)
    return image if mode is None else to_mode(image, mode)


def _decode_jpeg(data: bytes, mode: str | None) -> Array | None:
    """Decode a JPEG to "L" or "RGB", or return None where Pillow has to do it."""
    if not data.startswith(b"\xff\xd8"):
        return None
    header = jpeg_header(data)
    if header is None or not header.common or header.components == 4:
        return None
    if header.height * header.width > MAX_PIXELS:
        return None  # Pillow's way refuses it, with the message
    gray = header.components == 1 and mode != "RGB"
    try:
        array: Array = simplejpeg.decode_jpeg(data, "GRAY" if gray else "RGB")
    except ValueError as error:
        if "remature end" in str(error):
            raise InputError(
                f"the JPEG is truncated ({error}): {first_bytes(data)}"
            ) from error
        return None  # an unusual subsampling, or damage that libjpeg can pass over
    return array[:, :, 0] if gray else array


# --- arrays and PIL images ----------------------------------------------------------------


def _mode_of(array: Array) -> str:
    """Return the mode of an array, or say why it is no image."""
    kind = array.dtype.str[1:]
    if array.ndim == 2 and kind in ("u1", "u2", "b1") and array.size:
        return {"u1": "L", "u2": "I;16", "b1": "1"}[kind]
    if array.ndim == 3 and kind == "u1" and array.shape[2] in (3, 4) and array.size:
        return "RGB" if array.shape[2] == 3 else "RGBA"
    raise UnsupportedImageError(
        f"an array of shape {array.shape} and type {array.dtype} is no image: give (height, "
        "width) of uint8, uint16 or bool, or (height, width, 3 or 4) of uint8 (tensors: "
        "channels first); store other arrays as array fields"
    )


def _array_of(image: Image.Image) -> Array:
    """Return the pixels of a PIL image, in one of the shapes that `decode` promises."""
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("LA", "PA", "La", "RGBa"):
        image = to_mode(image, "RGBA")
    elif image.mode not in ("L", "P", "RGB", "RGBA", "CMYK"):
        image = to_mode(image, "I;16" if image.mode.startswith("I;16") else "RGB")
    return np.array(image)


def _array_of_other(image: Array | torch.Tensor) -> Array:
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if _mode_of(image) == "1":
        image = image.astype(np.uint8) * np.uint8(255)
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def to_array(image: ImageLike, mode: str | None = None) -> Array:
    """Return anything image-like as an array.

    Parameters
    ----------
    image : PIL.Image.Image, numpy.ndarray, torch.Tensor, EncodedImage or bytes
        Arrays are (H, W) or (H, W, C), tensors (H, W) or (C, H, W), with C of 1, 3 or 4;
        uint8, or without channels also uint16 and bool.
    mode : str, optional
        As for `decode`.

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
        return _named(decode, image, mode)
    if isinstance(image, Image.Image):
        return _array_of(image if mode is None else to_mode(image, mode))
    array = _array_of_other(image)
    if mode is None or _mode_of(array) == mode:
        return array
    return _array_of(to_mode(Image.fromarray(array), mode))


def to_pil(image: ImageLike, mode: str | None = None) -> Image.Image:
    """Return anything image-like as a PIL image.

    Parameters
    ----------
    image : PIL.Image.Image, numpy.ndarray, torch.Tensor, EncodedImage or bytes
        As for `to_array`.
    mode : str, optional
        As for `decode`.

    Raises
    ------
    InputError, UnsupportedImageError, LimitError, ConfigError
        As for `to_array`.
    """
    if isinstance(image, EncodedImage | bytes):
        return _named(decode_pil, image, mode)
    if not isinstance(image, Image.Image):
        image = Image.fromarray(_array_of_other(image))
    return image if mode is None else to_mode(image, mode)


def _named(function: Any, image: EncodedImage | bytes, mode: str | None) -> Any:
    """Decode, and name the file in the error if it has a name."""
    if isinstance(image, bytes):
        return function(image, mode)
    try:
        return function(image.data, mode)
    except InputError as error:
        if not image.name:
            raise
        raise type(error)(f"{image.name}: {error}") from error


# --- encode -------------------------------------------------------------------------------

_HELD = {
    "png": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"),
    "tiff": ("CMYK",),
    "jpeg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
}
_ENCODINGS = ("jpeg", "png", "webp")


def encode(
    image: Image.Image | Array | torch.Tensor,
    encoding: str = "png",
    quality: int | None = None,
) -> bytes:
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
    if encoding not in _ENCODINGS:
        raise ConfigError(f"encoding={encoding!r}: choose one of {', '.join(_ENCODINGS)}")
    image = to_pil(image)
    if image.mode.startswith("I;16"):
        image = to_mode(image, "I;16")
    kind = "tiff" if encoding == "png" and image.mode in _HELD["tiff"] else encoding
    if image.mode not in _HELD[kind]:
        raise _cannot_hold(image.mode, encoding)
    options = _save_options(kind, quality)
    file = io.BytesIO()
    image.save(file, format=kind.upper(), **options)
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


# --- resize -------------------------------------------------------------------------------


def resize(array: Array, size: Sequence[int], nearest: bool = False) -> Array:
    """Resize an array.

    Parameters
    ----------
    array : numpy.ndarray
        (H, W) or (H, W, C) of uint8 or uint16.
    size : (int, int)
        Height and width, in pixels.
    nearest : bool
        Take the nearest pixel, for masks: exactly Pillow's ``NEAREST``, and no new values
        appear. Otherwise bilinear with antialias, within one gray level of Pillow's
        ``BILINEAR`` with uint8.

    Returns
    -------
    numpy.ndarray
        C-contiguous, of the same type.

    Raises
    ------
    ConfigError
        If `size` is not two positive whole numbers.
    """
    height, width = _check_size(size)
    if array.shape[:2] == (height, width):
        return np.ascontiguousarray(array)
    if nearest:
        rows = _nearest(array.shape[0], height)
        columns = _nearest(array.shape[1], width)
        return np.ascontiguousarray(array[rows[:, None], columns])
    return _bilinear(array, (height, width))


def _check_size(size: Sequence[int]) -> tuple[int, int]:
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
    planes = array if array.ndim == 3 else array[:, :, None]
    if array.dtype != np.uint8:
        planes = planes.astype(np.float32)
    elif not array.flags.writeable:  # torch warns of those
        planes = planes.copy()
    # (H, W, C) seen as a channels-last batch of one: nothing is moved, and torch has a fast way
    batch = torch.from_numpy(planes).permute(2, 0, 1)[None]
    result = torch.nn.functional.interpolate(
        batch, size=size, mode="bilinear", antialias=True, align_corners=False
    )
    pixels: Array = result[0].permute(1, 2, 0).numpy()
    if array.dtype != np.uint8:
        pixels = np.rint(pixels).clip(0, np.iinfo(array.dtype).max).astype(array.dtype)
    return np.ascontiguousarray(pixels.reshape(*size, *array.shape[2:]))


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
        object.__setattr__(self, "size", _check_size(self.size))
        check_mode(self.mode)

    def __call__(self, image: ImageLike) -> Any:
        """Return the image in this size and mode."""
        pixels = resize(to_array(image, self.mode), self.size)
        if isinstance(image, torch.Tensor):
            planes = pixels if pixels.ndim == 3 else pixels[:, :, None]
            return torch.from_numpy(planes).permute(2, 0, 1).contiguous()
        return pixels if isinstance(image, np.ndarray) else Image.fromarray(pixels)
