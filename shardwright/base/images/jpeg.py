"""Decode a JPEG file: by simplejpeg, or as the user chooses."""

import importlib
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import simplejpeg

from shardwright.base.arguments import check_choice
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.images.pillow import first_bytes
from shardwright.base.images.probe import plain_jpeg_header

__all__ = ["DECODERS", "Decoder", "decode_jpeg"]

Decoder: TypeAlias = Literal["auto", "fast", "pillow", "torchcodec"]
DECODERS = ("auto", "fast", "pillow", "torchcodec")


def decode_jpeg(data: bytes, mode: str | None, decoder: Decoder = "auto") -> npt.NDArray[Any] | None:
    """Decode a JPEG to "L" or "RGB", or return None where Pillow has to do it.

    A file that ends too early is refused, also when somebody has put an end marker behind it
    (then Pillow would fill the rest with gray). Other damage is decoded as Pillow does.
    """
    header = None if check_choice("decoder", decoder, DECODERS) == "pillow" else plain_jpeg_header(data)
    if header is None:
        return None
    gray = header.components == 1 and mode != "RGB"
    fast = decoder == "fast"
    decode = _torchcodec() if decoder == "torchcodec" else simplejpeg.decode_jpeg
    try:
        array = decode(data, "GRAY" if gray else "RGB", fastdct=fast, fastupsample=fast)
    except (ValueError, RuntimeError) as error:
        if "remature end" in str(error) or "truncated" in str(error):
            raise InputError(f"the JPEG is truncated ({error}): {first_bytes(data)}") from error
        return None  # an unusual subsampling, or damage that libjpeg can pass over
    return array[:, :, 0] if gray else array


def _torchcodec() -> Callable[..., npt.NDArray[Any]]:
    """Return a function with the arguments of simplejpeg's."""
    try:
        decode = importlib.import_module("torchcodec.decoders").decode_jpeg
    except (ImportError, AttributeError, OSError, RuntimeError) as error:  # it loads libraries that may be missing
        raise ConfigError(
            f"decoder='torchcodec' needs torchcodec 0.16 or newer: pip install torchcodec ({error})"
        ) from error
    return lambda data, mode, **_: np.ascontiguousarray(decode(data, mode=mode).permute(1, 2, 0).numpy())
