"""Field: how one named value of a sample is stored.

A field is described by its kind and by whether its values all have one size:

=============  ==========================================  ====================
kind           a value is                                  stored as
=============  ==========================================  ====================
image          an image                                    the bytes of an image
                                                           file, or raw pixels
                                                           if `shape` is given
mask           an image whose pixel values are ids         the same, never lossy
array          an ndarray or tensor                        raw values if `shape`
                                                           is given, else .npy
int, float     a number                                    int64, float64
class_label    an integer 0 <= n < len(names), or -1       int64
json           dict, list, ...                             UTF-8 JSON
text           str                                         UTF-8
bytes          bytes                                       as they are
=============  ==========================================  ====================
"""

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from shardwright.base.errors import ConfigError

__all__ = ["KINDS", "SCALAR_KINDS", "Field", "check_fields", "sample_type_of"]

SCALAR_KINDS = {"int": "<i8", "float": "<f8", "class_label": "<i8"}
KINDS = ("array", "bytes", "class_label", "float", "image", "int", "json", "mask", "text")
LAYOUTS = ("HWC", "CHW")
BOX_FORMATS = ("XYXY", "XYWH", "CXCYWH")
EXIF = ("ignore", "apply")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Field:
    """One named value of a sample.

    Parameters
    ----------
    name : str
        A letter, then letters, digits and underscores.
    kind : str
        One of `KINDS`; the module's text says what each takes.
    dtype : str, optional
        NumPy dtype of fixed-size values, for example ``"|u1"``.
    shape : tuple of int, optional
        Shape of one value when all have the same; ``None``: values differ in size.
    names : tuple of str, optional
        The class names of a ``class_label`` or of a mask's ids, in the order of their numbers.
    mode : str, optional
        Pillow mode of raw pixels (images of fixed `shape`).
    layout : {"HWC", "CHW"}
        Order of the axes of raw pixels.
    compression : {"gzip"}, optional
        How the stored bytes of one value are compressed (a zlib stream).
    palette : tuple of int, optional
        Colours of a palette mask: R, G, B of id 0, of id 1, ...
    box_format : {"XYXY", "XYWH", "CXCYWH"}, optional
        Of an array (n, 4) that holds bounding boxes in pixels.
    of_masks : bool
        Whether an array (n, H, W) holds one mask per object.
    exif : {"ignore", "apply"}
        Whether images are turned as their EXIF orientation says: files when they are read, raw
        pixels before they were stored.

    Raises
    ------
    ConfigError
        If a value is not one of the allowed.
    """

    name: str
    kind: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = None
    mode: str | None = None
    layout: str = "HWC"
    compression: str | None = None
    palette: tuple[int, ...] | None = None
    box_format: str | None = None
    exif: Literal["ignore", "apply"] = "ignore"
    of_masks: bool = False

    def __repr__(self) -> str:
        """Return what differs from the defaults, as it would be typed."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return f"Field({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"field name {self.name!r} is not allowed; use a letter, then letters, digits "
                "and underscores, at most 64 in all"
            )
        for name, value, choices in (
            ("kind", self.kind, KINDS),
            ("layout", self.layout, LAYOUTS),
            ("exif", self.exif, EXIF),
        ):
            if value not in choices:
                raise ConfigError(f"field {self.name!r}: {name} {value!r} is not one of {', '.join(choices)}")
        if self.box_format is not None and (self.kind != "array" or self.box_format not in BOX_FORMATS):
            raise ConfigError(
                f"field {self.name!r}: box_format={self.box_format!r} is for arrays, one of {', '.join(BOX_FORMATS)}"
            )
        if self.of_masks and self.kind != "array":
            raise ConfigError(f"field {self.name!r}: of_masks=True is for arrays, not for a {self.kind} field")
        if self.exif != "ignore" and self.kind != "image":
            raise ConfigError(f"field {self.name!r}: exif={self.exif!r} is for images, not for a {self.kind} field")
        if self.is_scalar:
            object.__setattr__(self, "dtype", SCALAR_KINDS[self.kind])
            object.__setattr__(self, "shape", ())
        self._check_fixed()
        for name in ("names", "palette"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))

    def _check_fixed(self) -> None:
        if self.shape is None:
            return
        if self.kind in ("json", "text", "bytes"):
            raise ConfigError(f"field {self.name!r}: a {self.kind} field has no shape; leave shape out")
        if any(type(n) is not int or n < 0 for n in self.shape):
            raise ConfigError(f"field {self.name!r}: shape {self.shape!r} is not a tuple of whole numbers >= 0")
        try:
            dtype = np.dtype(self.dtype or "|u1")
        except TypeError:
            raise ConfigError(f"field {self.name!r}: {self.dtype!r} is not a NumPy dtype") from None
        if dtype.hasobject or dtype.kind in "VSUMm":
            raise ConfigError(f"field {self.name!r}: dtype {self.dtype!r} is not a plain number type")
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "dtype", dtype.newbyteorder("<").str)

    @property
    def is_scalar(self) -> bool:
        """Whether a value is one number, kept in the index itself."""
        return self.kind in SCALAR_KINDS

    @property
    def is_fixed(self) -> bool:
        """Whether all values have the same dtype and shape."""
        return self.shape is not None

    @property
    def is_image(self) -> bool:
        """Whether a value is an image or a mask."""
        return self.kind in ("image", "mask")

    @property
    def nbytes(self) -> int:
        """Bytes of one fixed-size value, uncompressed."""
        return math.prod(self.shape or ()) * np.dtype(self.dtype).itemsize

    def fixed(self, dtype: str, shape: tuple[int, ...], **changes: Any) -> "Field":
        """Return this field with all values of one `dtype` and `shape`."""
        return replace(self, dtype=dtype, shape=shape, **changes)

    def neutral(self) -> "Field":
        """Return this field without what only the file that it lies in decides."""
        if self.is_image:
            exif = "ignore" if self.is_fixed else self.exif  # pixels are turned already
            return Field(self.name, self.kind, palette=self.palette, names=self.names, exif=exif)
        return replace(self, compression=None, layout="HWC")

    def to_json(self) -> dict[str, Any]:
        """Return the field as JSON values, without what is left at its default."""
        values = asdict(self)
        kept = {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Field":
        """Return the field that `to_json` described."""
        known = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or not values.keys() <= known:
            raise ConfigError(f"a field has the entries {', '.join(sorted(known))}, not {values!r}")
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**arguments)


def sample_type_of(names: Iterable[str]) -> Literal["tuple", "dict"]:
    """Return what samples with these fields are: (image) and (image, label) are tuples, all others dicts."""
    return "tuple" if list(names) in (["image"], ["image", "label"]) else "dict"


def check_fields(fields: tuple[Field, ...]) -> None:
    """Raise `ConfigError` unless `fields` can be stored together."""
    if not fields:
        raise ConfigError("fields is empty; a sample has at least one field")
    columns = [f"{f.name}{part}" for f in fields for part in ("", "_offset", "_length", "_xxh3")]
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise ConfigError(f"two fields need the name {twice[0]!r}; rename one of them")
