"""What values that were there before can be read as, and what fields of them are called."""

import re
from collections.abc import Container, Iterator
from typing import Any

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.images.probe import probe
from shardwright.base.storage.files import mapped
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.pack import MASK_NAMES
from shardwright.base.values.restore import restore

__all__ = ["each_value", "field_name", "image_kind", "is_image", "kind_of_values"]

_CHECKED = ("array", "json", "text")


def field_name(text: str, taken: Container[str]) -> str:
    """Return a name for a field, made of any text, that is not taken yet."""
    base = re.sub(r"[^A-Za-z0-9_]", "_", text)[:50]
    base = base if base[:1].isalpha() else f"field_{base}"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def image_kind(name: str) -> str:
    """Return whether images called `name` are images or masks."""
    return "mask" if name in MASK_NAMES or name.endswith("_mask") else "image"


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
