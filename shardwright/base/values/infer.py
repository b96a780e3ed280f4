"""What fields arrays are that were there before: pixels, other numbers, or one number per sample."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field

__all__ = ["field_of_array", "number_field"]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def field_of_array(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> Field:
    """Return the field of values of one shape.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Of one value.
    dtype : numpy.dtype
    where : str
        What messages call the array.

    Raises
    ------
    InputError
        If values of this type cannot be read in place.
    """
    if dtype.kind not in "biufc" or not dtype.isnative:
        raise InputError(f"{where} holds {dtype} values, which are not read in place: convert it")
    if name == "mask" and dtype.kind in "biu" and len(shape) == 2:
        return Field(name, "mask", dtype.str, shape)
    pixels = _pixels(shape, dtype) if name in ("image", "mask") or dtype == np.uint8 else None
    if pixels is None:
        return Field(name, "array", dtype.str, shape)
    mode, layout = pixels
    return Field(name, "image", dtype.str, shape, mode=mode, layout=layout)


def _pixels(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[str, str] | None:
    """Return mode and layout of an array of pixels, ``None`` if it is something else."""
    if dtype == np.uint16 and len(shape) == 2:
        return "I;16", "HWC"
    if dtype != np.uint8 or 0 in shape:
        return None
    if len(shape) == 2:
        return "L", "HWC"
    if len(shape) == 3 and shape[2] in _MODES:
        return _MODES[shape[2]], "HWC"
    return (_MODES[shape[0]], "CHW") if len(shape) == 3 and shape[0] in _MODES else None


def number_field(
    name: str, values: NDArray[Any], where: str, names: tuple[str, ...] | None = None
) -> tuple[Field, NDArray[Any]]:
    """Return the field of one number per sample, and the numbers as it stores them.

    Raises
    ------
    InputError
        If they are no numbers.
    """
    if values.dtype.kind == "f":
        return Field(name, "float"), values.astype("<f8")
    if values.dtype.kind not in "biu" or (values.dtype == np.uint64 and values.max(initial=0) >= 2**63):
        raise InputError(f"{where} holds {values.dtype} values, which are not read in place: convert it")
    numbers = values.astype("<i8")
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    if low < -1 or (name != "label" and names is None):
        return Field(name, "int"), numbers
    return Field(name, "class_label", names=names if names is None or high < len(names) else None), numbers
