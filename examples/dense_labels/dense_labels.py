"""Two formats of one's own: memmap and Arrow IPC with a label for every pixel.

The README beside this file builds them step by step.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from shardwright import (
    EncodedImage,
    Field,
    Format,
    InputError,
    IpcConverter,
    IpcReader,
    MemmapConverter,
    MemmapReader,
    register,
)
from shardwright.base.images import probe
from shardwright.base.images.masks import palette_of, to_ids

__all__ = ["DenseIpcConverter", "DenseIpcReader", "DenseMemmapConverter", "DenseMemmapReader"]


def as_mask(field: Field, value: Any) -> Field:
    """Return the field of a label that is a picture, or an array with rows and columns, as a mask."""
    if field.name == "label" and not field.is_scalar and np.ndim(value) in (0, 2, 3):
        return Field("label", "mask", palette=palette_of(value))
    return field


def size_of(value: Any) -> tuple[int, ...]:
    """Return height and width."""
    if isinstance(value, EncodedImage):
        info = probe(value.data)
        return info.height, info.width
    if isinstance(value, Image.Image):
        return value.height, value.width
    return tuple(value.shape[-2:] if isinstance(value, torch.Tensor) else value.shape[:2])


def check_sizes(batch: list[dict[str, Any]], fields: tuple[Field, ...]) -> None:
    """Raise `InputError` if a mask is not as large as the image beside it."""
    masks = [f.name for f in fields if f.kind == "mask"]
    for sample in batch:
        for name in masks if "image" in sample else ():
            image, mask = size_of(sample["image"]), size_of(sample[name])
            if image != mask:
                raise InputError(f"the image is {image} and its {name} {mask}; one of them belongs to another sample")


class DenseMemmapConverter(MemmapConverter):
    """`MemmapConverter` whose labels are arrays (num_instances, height, width, channels)."""

    format_name = "dense_memmap"

    def _stored_field(self, field: Field, value: Any) -> Field:
        stored = super()._stored_field(as_mask(field, value), value)
        shape = stored.shape or ()
        return replace(stored, shape=(*shape, 1)) if stored.kind == "mask" and len(shape) == 2 else stored

    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
        check_sizes(batch, self.fields)
        return super()._custom_collate_fn(batch)


class DenseMemmapReader(MemmapReader):
    """`MemmapReader` whose labels are ndarrays of ids, (H, W) or (H, W, C), also where images are PIL images."""

    format_name = "dense_memmap"

    def _restored(self, field: Field, column: Any) -> Any:
        if field.kind != "mask" or self.output != "pil":
            return super()._restored(field, column)
        return list(column[..., 0] if column.shape[-1] == 1 else column)


class DenseIpcConverter(IpcConverter):
    """`IpcConverter` whose labels are masks, each a PNG that loses nothing."""

    format_name = "dense_ipc"

    def _stored_field(self, field: Field, value: Any) -> Field:
        return super()._stored_field(as_mask(field, value), value)

    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
        check_sizes(batch, self.fields)
        return super()._custom_collate_fn(batch)


class DenseIpcReader(IpcReader):
    """`IpcReader` whose labels are ndarrays of ids, also where images are PIL images."""

    format_name = "dense_ipc"

    def _restored(self, field: Field, column: Any) -> Any:
        if field.kind != "mask" or self.output != "pil":
            return super()._restored(field, column)
        return [to_ids(bytes(value)) for value in column]


for _name, _suffix, _class in (("dense_memmap", ".npy", "DenseMemmap"), ("dense_ipc", ".arrow", "DenseIpc")):
    register(Format(_name, _suffix, f"{__name__}:{_class}Converter", f"{__name__}:{_class}Reader"))
