"""Samples as torchvision's tensor classes, so that its v2 transforms treat each value rightly."""

from collections.abc import Callable, Sequence
from typing import Any

from shardwright.base.fields import Field

__all__ = ["as_tv_tensors", "field_of_tv_tensor"]

_CLASSES = {"Image": "image", "Mask": "mask", "BoundingBoxes": "array"}


def as_tv_tensors(fields: Sequence[Field]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return a function that turns the values of one sample into torchvision's tensors.

    Images become ``tv_tensors.Image``, masks ``tv_tensors.Mask``, arrays with a
    `box_format` ``tv_tensors.BoundingBoxes`` on the canvas of the first image, arrays
    `of_masks` ``tv_tensors.Mask``, all else stays as it is.
    """
    from torchvision import tv_tensors  # only who asks for them pays

    classes = {"image": tv_tensors.Image, "mask": tv_tensors.Mask}
    first = next((i for i, f in enumerate(fields) if f.is_image), None)

    def convert(values: tuple[Any, ...]) -> tuple[Any, ...]:
        size = None if first is None else tuple(values[first].shape[-2:])
        return tuple(
            tv_tensors.BoundingBoxes(value, format=f.box_format, canvas_size=size)
            if f.box_format and size
            else tv_tensors.Mask(value)
            if f.of_masks
            else classes[f.kind](value)
            if f.is_image
            else value
            for f, value in zip(fields, values, strict=True)
        )

    return convert


def field_of_tv_tensor(name: str, value: Any) -> Field | None:
    """Return how one of torchvision's tensors is stored; ``None`` if it is not one, or needs no rule of its own."""
    if type(value).__module__.partition("._")[0] != "torchvision.tv_tensors":
        return None
    kind = _CLASSES.get(type(value).__name__)
    if kind == "array":
        boxes = value.format.name
        return Field(name, "array", box_format=boxes) if boxes in ("XYXY", "XYWH", "CXCYWH") else None
    if kind == "mask" and value.ndim == 3 and value.shape[0] != 1:
        return Field(name, "array", of_masks=True)
    return None if kind is None or (kind == "mask" and value.ndim not in (2, 3)) else Field(name, kind)
