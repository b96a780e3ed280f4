"""Which field stores what is found: values of a user's data set, and arrays that were there before.

The rules stand here once: what arrays of many samples are (`find_layout`, `pixel_field`), what one
value is (`infer_field`), and what is a mask in `mask_values`.
"""

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from shardwright.base.arguments import check_choice
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage, masks
from shardwright.base.images.probe import probe
from shardwright.base.storage.files import mapped
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.mask_values import image_kind, mask_field
from shardwright.base.values.pack import ndarray_of
from shardwright.base.values.restore import restore
from shardwright.base.values.tv_tensors import field_of_tv_tensor

__all__ = [
    "LAYOUTS",
    "each_value",
    "field_name",
    "field_of_array",
    "find_layout",
    "infer_field",
    "is_image",
    "kind_of_values",
    "number_field",
    "pixel_field",
    "with_palette",
]

LAYOUTS = {"NHW": 3, "NHWC": 4, "NCHW": 4}  # layout: number of axes
_CHECKED = ("array", "json", "text")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def find_layout(shape: tuple[int, ...], layout: str | None = None, name: str = "the array") -> str:
    """Return the order of the axes of an array of images: ``"NHW"``, ``"NHWC"`` or ``"NCHW"``."""
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
    """
    if image_kind(name) == "mask":
        is_mask = len(shape) == 3 and dtype.kind in "biu" and 0 not in shape[1:]
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
    """Return the field of one number per sample, and the numbers as it stores them, or raise `InputError`."""
    if values.dtype.kind == "f":
        return Field(name, "float"), values.astype("<f8")
    if values.dtype.kind not in "biu" or (values.dtype == np.uint64 and values.max(initial=0) >= 2**63):
        raise InputError(f"{where} holds {values.dtype} values: give whole numbers below 2^63, or fractions")
    numbers = values.astype("<i8")
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    if names is None or low < -1 or high >= len(names):
        return Field(name, "int"), numbers
    return Field(name, "class_label", names=names), numbers


def infer_field(name: str, value: Any, size: tuple[int, int] | None = None) -> Field:
    """Return the field that stores values like this one, or raise `InputError`.

    Parameters
    ----------
    name : str
    value
    size : (int, int), optional
        Height and width of the image beside it.
    """
    found = field_of_tv_tensor(name, value) or mask_field(name, value, size)
    if found is not None:
        return found
    _refuse_file_name(name, value)
    if isinstance(value, (EncodedImage, Image.Image)):
        return Field(name, "image")
    if isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim > 0:
        dtype = ndarray_of(value[:0]).dtype
        named = name == "image" or image_kind(name) == "mask"
        if named and _can_be_image(value.shape, dtype, 0 if isinstance(value, torch.Tensor) else -1):
            return Field(name, image_kind(name))
        if dtype.hasobject or dtype.kind in "VSUMm":
            raise InputError(f"field {name!r}: arrays of dtype {dtype} cannot be stored; give numbers")
        if name == "boxes" and value.ndim == 2 and value.shape[1] == 4:
            return Field(name, "array", box_format="XYXY")  # any number of them, as torchvision's models take them
        return Field(name, "array", dtype.str, tuple(value.shape))
    if isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        value = value.item()
    kinds = ((int, "int"), (float, "float"), (str, "text"), ((bytes, bytearray), "bytes"), ((dict, list), "json"))
    for types, kind in kinds:
        if isinstance(value, types):
            return Field(name, kind)
    raise InputError(
        f"field {name!r}: a value of type {type(value).__name__} cannot be stored; give an image, array, "
        "tensor, int, float, str, bytes, dict or list"
    )


def _refuse_file_name(name: str, value: Any) -> None:
    if name == "image" and isinstance(value, str):
        raise InputError(
            f"field 'image': the text {value!r:.80} is no image; if it names a file, open it: Image.open(path). "
            "To store text, call it something else in a dict"
        )


def _can_be_image(shape: Sequence[int], dtype: np.dtype[Any], axis: int) -> bool:
    """Whether one value can be an image whose channels, if it has some, are that axis."""
    return dtype in (np.uint8, np.uint16, np.bool_) and (len(shape) == 2 or (len(shape) == 3 and shape[axis] in _MODES))


def with_palette(field: Field, value: Any) -> Field:
    """Return a mask's field with the colours of its first value, unless it has some or there are none."""
    if field.kind != "mask" or field.palette is not None:
        return field
    return replace(field, palette=masks.palette_of(value))


def field_name(text: str, taken: Container[str]) -> str:
    """Return a name for a field, made of any text, that is not taken yet."""
    base = re.sub(r"[^A-Za-z0-9_]", "_", text)[:50]
    base = base if base[:1].isalpha() else f"field_{base}"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def is_image(data: Any) -> bool:
    """Whether bytes are an image file that this library reads."""
    try:
        probe(bytes(data))
    except InputError:
        return False
    return True


def each_value(ranges: Ranges) -> Iterator[bytes]:
    """Yield the bytes of one value after the other."""
    with mapped(ranges.path) as data:
        for offset, length in zip(ranges.offsets.tolist(), ranges.lengths.tolist(), strict=True):
            yield bytes(data[offset : offset + length])


def kind_of_values(field: Field, ranges: Ranges) -> Field:
    """Return the field, as plain bytes if its values are not what its kind promises.

    So reading never meets text that is no UTF-8, or an array of Python objects.
    """
    unchecked = field.is_fixed or field.kind not in _CHECKED
    if unchecked or all(_is_readable(field, data) for data in each_value(ranges)):
        return field
    return Field(field.name, "bytes")


def _is_readable(field: Field, data: bytes) -> bool:
    try:
        restore(field, data, "numpy")
    except Exception:  # noqa: BLE001 - json and numpy raise many things about bytes from anywhere
        return False
    return True
