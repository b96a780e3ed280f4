"""Image helpers under the import path that existing code uses."""

from shardwright.base.images import (
    MODES,
    EncodedImage,
    ResizeAndConvert,
    decode,
    decode_pil,
    encode,
    resize,
    to_array,
    to_mode,
    to_pil,
)

__all__ = [
    "MODES",
    "EncodedImage",
    "ResizeAndConvert",
    "decode",
    "decode_pil",
    "encode",
    "resize",
    "to_array",
    "to_mode",
    "to_pil",
]
