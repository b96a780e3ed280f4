"""Values to stored bytes: pure functions. `restore` is the way back."""

import json
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shardwright.base import images
from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage, masks
from shardwright.base.storage.npy import npy_header
from shardwright.base.values.columns import ByteColumn, Column

__all__ = ["as_npy", "ndarray_of", "pack"]


def pack(
    field: Field, values: Sequence[Any], encoding: str = "png", quality: int | None = None, *, resize: bool = True
) -> Column:
    """Turn the values of one field into a column, or raise `InputError`."""
    if field.is_scalar:
        return np.array([_scalar(field, v) for v in values], dtype=field.dtype)
    if field.is_fixed:
        out = np.empty((len(values), *(field.shape or ())), dtype=field.dtype)
        for row, value in enumerate(values):
            out[row] = _pixels(field, value, resize) if field.is_image else _array(field, value)
        return out
    if field.is_image:
        files = [_image_file(field, v, encoding, quality) for v in values]
        infos = [images.probe(file) for file in files]
        return ByteColumn(files, [(i.extension, i.mode) for i in infos], [i.warning for i in infos])
    return ByteColumn([_plain_bytes(field, v) for v in values])


def _scalar(field: Field, value: Any) -> int | float:
    if isinstance(value, (np.ndarray, torch.Tensor, np.bool_)) and value.ndim == 0:
        value = value.item()
    if field.kind == "float":
        if isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool):
            return float(value)
        raise InputError(f"field {field.name!r} takes a number, not {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(
            f"field {field.name!r} ({field.kind}) takes a whole number, not {value!r}; "
            "give fields= with another kind if that is meant"
        ) from None
    low, high = -(2**63), 2**63 - 1
    if field.kind == "class_label":
        low, high = -1, len(field.names) - 1 if field.names else high
    if field.names and not low <= number <= high:
        shown = ", ".join(field.names[:5]) + (", ..." if len(field.names) > 5 else "")
        advice = f"fields=[Field({field.name!r}, 'int')]"
        raise InputError(
            f"field {field.name!r}: the class number {number} has no name: there are {len(field.names)} ({shown}), so "
            f"numbers from -1 to {high} are taken; begin anew (overwrite=True) with the names of all numbers, "
            f"classes=[...], or say that they are no classes: {advice}"
        )
    if not low <= number <= high:
        raise InputError(f"field {field.name!r} takes whole numbers from {low} to {high}, not {number}")
    return number


@contextmanager
def _naming(field: Field) -> Iterator[None]:
    """Name the field in errors about a value; keep the class of an `InputError`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = type(error) if isinstance(error, InputError) else InputError
        raise kind(f"field {field.name!r}: {error}") from error


def _pixels(field: Field, value: Any, resize: bool) -> NDArray[Any]:
    """Decode one image, and resize it to the field's shape where that is allowed."""
    shape = field.shape or ()
    size = shape[-2:] if field.layout == "CHW" else shape[:2]
    with _naming(field):
        array = masks.to_ids(value) if field.kind == "mask" else images.to_array(value, field.mode, exif=field.exif)
    if not resize and array.shape[:2] != size:
        raise InputError(
            f"field {field.name!r}: is {_by(array.shape[:2])} pixels, the first sample's {_by(size)} (height x width); "
            "give shape= to resize all of them"
        )
    array = images.resize(array, size, nearest=field.kind == "mask")
    if array.ndim == 2 and len(shape) == 3:
        array = array[:, :, None]
    if field.layout == "CHW" and array.ndim == 3:
        array = array.transpose(2, 0, 1)
    if array.shape != shape:
        raise InputError(f"field {field.name!r} takes pixels of shape {shape}, not {array.shape}")
    if not np.can_cast(array.dtype, np.dtype(field.dtype), "safe"):
        raise InputError(f"field {field.name!r} takes {field.dtype} values, not {array.dtype}")
    return array


def _by(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def ndarray_of(value: Any) -> NDArray[Any]:
    """Return an array or a tensor, wherever it lies, as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _array(field: Field, value: Any) -> NDArray[Any]:
    array = ndarray_of(value)
    if field.layout == "CHW" and array.ndim == 3:
        array = array.transpose(2, 0, 1)
    if array.shape != field.shape:
        raise InputError(
            f"field {field.name!r} takes arrays of shape {field.shape}, not {array.shape}; values of "
            "different sizes need fields= with shape=None and a format that takes them"
        )
    if array.dtype.newbyteorder("<") != np.dtype(field.dtype):
        raise InputError(f"field {field.name!r} takes {np.dtype(field.dtype)} values, not {array.dtype}")
    return array


def _image_file(field: Field, value: Any, encoding: str, quality: int | None) -> bytes:
    """Return the bytes of an image's own file, or encode it."""
    if isinstance(value, EncodedImage):
        return value.data
    with _naming(field):
        if field.kind == "mask":
            return masks.encode_ids(value, field.palette)
        if field.exif == "apply":
            value = images.to_pil(value, exif="apply")
        return images.encode(value, encoding, quality)


def _plain_bytes(field: Field, value: Any) -> bytes:
    if field.kind == "bytes" and isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if field.kind == "text" and isinstance(value, str):
        return value.encode()
    if field.kind == "json":
        if _has_odd_key(value):
            raise InputError(f"field {field.name!r}: JSON has only strings as keys, and would turn 1 into '1'; use str")
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise InputError(f"field {field.name!r}: not JSON: {error}") from error
    if field.kind == "array":
        array = ndarray_of(value)
        if not array.dtype.hasobject:
            array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
            return npy_header(array.dtype.str, array.shape) + array.tobytes()
    raise InputError(f"field {field.name!r} ({field.kind}) does not take {type(value).__name__} {value!r:.80}")


def _has_odd_key(value: Any) -> bool:
    """Whether a dict in it has a key that would come back as another one."""
    if isinstance(value, dict):
        return not all(isinstance(key, str) for key in value) or any(map(_has_odd_key, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_odd_key, value))


def as_npy(field: Field, column: Column) -> ByteColumn:
    """Return arrays of one shape as .npy files, which everything can read; values of any size as they are."""
    if isinstance(column, ByteColumn):
        return column
    header = npy_header(str(field.dtype), field.shape or ())
    return ByteColumn([header + row.tobytes() for row in column])
