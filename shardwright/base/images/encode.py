"""Encoding images: lossless unless the user asks otherwise."""

import io
from typing import Any

import torch
from PIL import Image

from shardwright.base.arguments import check_choice, check_quality
from shardwright.base.errors import ConfigError, UnsupportedImageError
from shardwright.base.images.decode import Array, to_pil
from shardwright.base.images.modes import to_mode

__all__ = ["encode"]

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
    quality = check_quality(quality, encoding)
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
    if kind == "jpeg":
        return {"quality": quality or 95}
    if kind == "webp":
        return {"quality": quality} if quality else {"lossless": True, "exact": True}
    return {"compression": "tiff_adobe_deflate"} if kind == "tiff" else {}
