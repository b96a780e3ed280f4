"""The mode of an image (its colours and depth): which one readers give, and how one becomes another."""

from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

from shardwright.base.arguments import check_choice
from shardwright.base.errors import UnsupportedImageError
from shardwright.base.fields import Field

__all__ = ["MODES", "modes_on_reading", "to_mode"]

MODES = ("L", "RGB", "RGBA", "I;16")
"""The modes that a user may ask for."""

_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_NO_RULE = ("F", "I", "LAB", "La")
_ALPHA_MODES = ("LA", "PA", "RGBA", "RGBa")


def modes_on_reading(
    fields: Iterable[Field], stored: Mapping[str, Mapping[str, int]], mode: str | None
) -> dict[str, str | None]:
    """Return the mode that a reader converts each image field to: `mode`, where it is given; ``None``: as stored."""
    return {f.name: _mode_on_reading(f, stored.get(f.name, {}), mode) for f in fields if f.is_image}


def _mode_on_reading(field: Field, stored: Mapping[str, int], mode: str | None) -> str | None:
    if mode is not None or field.is_fixed or field.kind == "mask":
        return mode
    return None if len(stored) <= 1 else "RGB"


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return the image in another mode.

    ==================  ===================================================================
    from                rule
    ==================  ===================================================================
    the same mode       returned as it is
    alpha               composited over white if `mode` has none, else kept
    palette ("P")       through its colours, not its indices; transparent ones as alpha
    a colour key        (one colour of a gray or RGB image is transparent) alpha in "RGBA",
                        else ignored
    1 bit ("1")         0 and 255
    16 bit ("I;16")     to 8 bit as ``round(v / 257)``: 0 stays 0, 65535 becomes 255
    8 bit to "I;16"     to gray as for "L", then ``v * 257``
    colour to gray      Pillow's weights (ITU-R 601-2)
    "CMYK" and others   as Pillow converts them
    "F", "I", "LAB"...  refused: there is no scale that fits all of them
    ==================  ===================================================================

    Parameters
    ----------
    image : PIL.Image.Image
        Any image.
    mode : str
        One of `MODES`, or the image's own mode.

    Raises
    ------
    ConfigError
        If `mode` is neither.
    UnsupportedImageError
        If the image has a mode without a rule.
    """
    if image.mode == mode:
        return image
    check_choice("mode", mode, MODES)
    if image.mode in _NO_RULE:
        raise UnsupportedImageError(
            f"an image of mode {image.mode!r} has no rule for mode {mode!r}: convert it before, or store it as an array"
        )
    if image.mode in _DEEP_MODES:
        return _from_deep(image, mode)
    if mode == "I;16":
        gray = np.asarray(to_mode(image, "L"), dtype=np.uint16)
        return Image.fromarray(gray * np.uint16(257))
    if image.mode in _ALPHA_MODES or (image.mode == "P" and image.has_transparency_data):
        return _from_transparent(image, mode)
    return image.convert(mode)


def _from_deep(image: Image.Image, mode: str) -> Image.Image:
    values = np.asarray(image).astype(np.uint16)
    if mode == "I;16":
        return Image.fromarray(values)
    # v / 257 rounded, in integers; 32 bits because v + 128 may pass 65535
    gray = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return Image.fromarray(gray).convert(mode)


def _from_transparent(image: Image.Image, mode: str) -> Image.Image:
    image = image.convert("RGBA")
    if mode == "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert(mode)
