"""What fields arrays are that hold one value per sample: pixels, masks, other values, or one number each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.arguments import check_choice
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.values.found import image_kind

__all__ = ["LAYOUTS", "field_of_array", "find_layout", "number_field", "pixel_field"]

LAYOUTS = {"NHW": 3, "NHWC": 4, "NCHW": 4}  # layout: number of axes
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MASKS = ("|b1", "|u1", "<u2")  # ids that an image file holds


def find_layout(shape: tuple[int, ...], layout: str | None = None, name: str = "the array") -> str:
    """Return the order of the axes of an array of images: ``"NHW"``, ``"NHWC"`` or ``"NCHW"``.

    Parameters
    ----------
    shape : tuple of int
    layout : str, optional
        What the user said.
    name : str
        What messages call the array.

    Raises
    ------
    ConfigError
        If `layout` is unknown or does not fit, or if the shape can mean several.
    """
    if layout is not None:
        return _checked_layout(shape, layout, name)
    if len(shape) == 3:
        if shape[2] in (3, 4) and min(shape[:2]) > 4:
            raise ConfigError(
                f"{name} has shape {shape}, which looks like one image (H, W, C): say layout='NHW' if it is "
                f"{shape[0]} images of {shape[1]} x {shape[2]}, else give array[None]"
            )
        return "NHW"
    if len(shape) != 4:
        raise ConfigError(f"{name} has shape {shape}: images have the shape (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if (shape[3] in _MODES) == (shape[1] in _MODES):
        raise ConfigError(
            f"{name} has shape {shape}, which can be read in two ways: say layout='NHWC' ({shape[3]} channels of "
            f"{shape[1]} x {shape[2]}) or layout='NCHW' ({shape[1]} channels of {shape[2]} x {shape[3]})"
        )
    return "NHWC" if shape[3] in _MODES else "NCHW"


def _checked_layout(shape: tuple[int, ...], layout: str, name: str) -> str:
    check_choice("layout", layout, tuple(LAYOUTS))
    if len(shape) != LAYOUTS[layout]:
        fitting = [repr(known) for known, axes in LAYOUTS.items() if axes == len(shape)]
        mend = f"choose {' or '.join(fitting)}" if fitting else "reshape it"
        raise ConfigError(f"{name} has shape {shape}, which is not layout={layout!r}: {mend}")
    return layout


def pixel_field(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], layout: str | None) -> Field | None:
    """Return the field of an array of images in some layout, ``None`` if its values are no pixels."""
    if dtype != np.uint8 or layout is None or 0 in shape[1:]:
        return None
    mode = _MODES.get({"NHW": 1, "NHWC": shape[-1], "NCHW": shape[1]}[layout])
    if mode is None:
        return None
    return Field(name, "image", dtype.str, shape[1:], mode=mode, layout="CHW" if layout == "NCHW" else "HWC")


def field_of_array(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> Field:
    """Return the field of an array, of which the first axis counts the samples.

    ``uint8`` arrays of the shape of images are images, those called masks are masks, all others
    are stored as the arrays they are.

    Raises
    ------
    ConfigError
        If it is called image, and its shape can mean several layouts.
    """
    if image_kind(name) == "mask":
        is_mask = len(shape) == 3 and dtype.newbyteorder("<").str in _MASKS and 0 not in shape[1:]
        return Field(name, "mask" if is_mask else "array", dtype.str, shape[1:])
    channels = [shape[axis] in _MODES for axis in (3, 1)] if len(shape) == 4 else []
    layout = None
    if dtype == np.uint8 and (len(shape) == 3 or any(channels)):
        layout = find_layout(shape, None, where) if name == "image" else _usual_layout(channels)
    return pixel_field(name, shape, dtype, layout) or Field(name, "array", dtype.str, shape[1:])


def _usual_layout(channels: list[bool]) -> str:
    """Return the layout where the name says nothing: channels come last, if they can."""
    if not channels:
        return "NHW"
    return "NHWC" if channels[0] else "NCHW"


def number_field(
    name: str, values: NDArray[Any], where: str, names: tuple[str, ...] | None = None
) -> tuple[Field, NDArray[Any]]:
    """Return the field of one number per sample, and the numbers as it stores them.

    Raises
    ------
    InputError
        If they are no numbers, or too large.
    """
    if values.dtype.kind == "f":
        return Field(name, "float"), values.astype("<f8")
    if values.dtype.kind not in "biu" or (values.dtype == np.uint64 and values.max(initial=0) >= 2**63):
        raise InputError(f"{where} holds {values.dtype} values: give whole numbers below 2^63, or fractions")
    numbers = values.astype("<i8")
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    if names is None or low < -1 or high >= len(names):
        return Field(name, "int"), numbers
    return Field(name, "class_label", names=names), numbers
