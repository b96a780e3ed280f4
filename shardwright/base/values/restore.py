"""Stored bytes back to values: pure functions of a field and what `pack` made of a value."""

import io
import json
import math
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shardwright.base import images
from shardwright.base.errors import CorruptShardError, InputError
from shardwright.base.fields import Field
from shardwright.base.images import masks
from shardwright.base.images.decode import channels_first, channels_last

__all__ = ["decompress", "restore", "restore_array"]


def restore(
    field: Field, data: Any, output: str = "pil", mode: str | None = None, decoder: images.Decoder = "auto"
) -> Any:
    """Turn the stored bytes of one value of varying size back into the value."""
    if field.kind == "bytes" or output == "bytes":
        return bytes(data)
    if field.kind == "text":
        return str(data, "utf-8")
    if field.kind == "json":
        return json.loads(bytes(data))
    if field.kind == "array":
        return restore_array(field, _read_npy(data), output)
    return _decoded(field, data, output, mode, decoder)


def _decoded(field: Field, data: Any, output: str, mode: str | None, decoder: images.Decoder) -> Any:
    if output == "pil":
        return images.decode_pil(data, None if field.kind == "mask" else mode, exif=field.exif, decoder=decoder)
    if field.kind == "mask":
        return _ids_as(field, masks.to_ids(bytes(data)), output)
    return _pixels_as(images.decode(data, mode, exif=field.exif, decoder=decoder), output)


def restore_array(field: Field, array: NDArray[Any], output: str, mode: str | None = None) -> Any:
    """Turn one array into what `output` asks for, without a copy where possible."""
    if not field.is_image:
        return torch.from_numpy(np.asarray(array)) if output in ("tensor", "tv_tensor") else array  # () is a scalar
    if field.kind == "mask":
        return _ids_as(field, channels_last(array), output)
    if field.layout == "CHW" and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if output == "pil":
        return images.to_pil(array, mode)
    return _pixels_as(array if mode in (None, field.mode) else images.to_array(array, mode), output)


def _pixels_as(array: NDArray[Any], output: str) -> Any:
    if output == "numpy":
        return array
    return channels_first(torch.from_numpy(array))


def _ids_as(field: Field, ids: NDArray[Any], output: str) -> Any:
    if output == "pil":
        return masks.ids_to_pil(ids, field.palette)
    return ids if output == "numpy" else masks.ids_to_tensor(ids)


def _read_npy(data: Any) -> NDArray[Any]:
    file = io.BytesIO(bytes(data))
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise InputError(f".npy version {version} is not read; write version (1, 0)")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise InputError("an .npy value holds Python objects; store numbers")
    values = np.frombuffer(bytearray(file.read(math.prod(shape) * dtype.itemsize)), dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def decompress(field: Field, data: Any) -> bytes:
    """Return the `field.nbytes` bytes of a compressed value, and never more, or raise `CorruptShardError`."""
    try:
        inflated = zlib.decompressobj().decompress(data, field.nbytes + 1)
    except zlib.error as error:
        raise CorruptShardError(f"field {field.name!r}: {error}") from error
    if len(inflated) != field.nbytes:
        raise CorruptShardError(f"field {field.name!r}: a value inflates to {len(inflated)} bytes, not {field.nbytes}")
    return inflated
