"""What the columns of a foreign Arrow schema are, with Hugging Face's features where they are named."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.source import Places
from shardwright.base.storage.ranges import Ranges
from shardwright.base.storage.strict_json import parse_json
from shardwright.base.values.infer import field_name, image_kind, is_image

__all__ = ["NOT_ALL", "ArrowColumn", "ElsewhereError", "columns_of", "find_columns"]

NOT_ALL = "missing or too large values"


class ElsewhereError(Exception):
    """The values of a column do not lie in the file as they are."""


@dataclass(frozen=True, slots=True)
class ArrowColumn:
    """One column, as a field.

    Parameters
    ----------
    number : int
        In the schema.
    name : str
        In the schema.
    field : Field
    in_struct : bool
        Whether the values are the child ``bytes`` of a struct, as images are.
    is_guess : bool
        Whether nothing but the type says what the bytes are: look whether they are images.
    """

    number: int
    name: str
    field: Field
    in_struct: bool = False
    is_guess: bool = False


def columns_of(schema: Any) -> tuple[list[ArrowColumn], list[str]]:
    """Return the columns that can be read, and why others cannot."""
    features = _features(schema)
    found: list[ArrowColumn] = []
    reasons: list[str] = []
    for number, column in enumerate(schema):
        name = field_name(column.name, [c.field.name for c in found])
        made = _column(number, column, name, features.get(column.name) or {})
        if made is None:
            reasons.append(f"column {column.name:.80}: type {column.type!s:.80}")
        else:
            found.append(made)
    return found, reasons


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Return Hugging Face's description of each column, as far as there is one."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = parse_json(text, "the metadata 'huggingface'")["info"]["features"]
        return {str(k): v for k, v in features.items() if isinstance(v, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):  # another program's words, of no use here
        return {}


def _column(number: int, column: Any, name: str, feature: dict[str, Any]) -> ArrowColumn | None:
    kind, said = column.type, feature.get("_type")
    if pa.types.is_struct(kind):
        child = kind.get_field_index("bytes")
        if child < 0 or not _is_bytes(kind.field(child).type):
            return None
        known = "bytes" if said not in (None, "Image") else image_kind(name)
        return ArrowColumn(number, column.name, Field(name, known), in_struct=True, is_guess=said is None)
    field = _plain_field(name, kind, feature)
    return None if field is None else ArrowColumn(number, column.name, field, is_guess=_is_bytes(kind))


def _plain_field(name: str, kind: Any, feature: dict[str, Any]) -> Field | None:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Field(name, "text")
    if _is_bytes(kind):
        return Field(name, image_kind(name))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _whole_numbers(name, feature)
    return Field(name, "float") if pa.types.is_floating(kind) else None


def _is_bytes(kind: Any) -> bool:
    """Whether a type is that of byte strings with offsets."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _whole_numbers(name: str, feature: dict[str, Any]) -> Field:
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list) and all(isinstance(n, str) for n in names):
        return Field(name, "class_label", names=tuple(names))
    return Field(name, "class_label" if name == "label" else "int")


def find_columns(
    path: Path,
    data: memoryview,
    count: int,
    columns: tuple[list[ArrowColumn], list[str]],
    values_of: Callable[[ArrowColumn], Any],
    convert: str,
) -> Places:
    """Return what a file of columns holds.

    Parameters
    ----------
    path : Path
    data : memoryview
        The whole file.
    count : int
        Rows.
    columns : tuple
        What `columns_of` says of its schema.
    values_of : callable
        Gets a column. Returns its numbers (pyarrow.ChunkedArray), or of bytes the offsets
        and lengths (int64, 2×N) in each part of the file; raises `ElsewhereError` where there are none.
    convert : str
        How to convert such a file, for messages.

    Raises
    ------
    InputError
        If images, or all columns of bytes, do not lie in the file as they are.
    """
    known, reasons = columns
    fields: dict[int, Field] = {}
    ranges: dict[str, Ranges] = {}
    scalars: dict[str, NDArray[Any]] = {}
    for column in (c for c in known if not c.field.is_scalar):
        try:
            found = Ranges.joined(path, values_of(column))
        except ElsewhereError as error:
            if column.field.is_image and not column.is_guess:
                raise InputError(f"{path}: column {column.name!r}: {error}: {convert}") from error
            reasons.append(f"column {column.name:.80}: {error}")
        else:
            fields[column.number], ranges[column.field.name] = _as_seen(column, data, found), found
    if count and not ranges:
        raise InputError(f"{path}: no column can be read in place ({'; '.join(reasons) or 'it has none'}): {convert}")
    # Not before the values were found: `count` is then as many as there are, whatever the file says.
    for column in (c for c in known if c.field.is_scalar):
        try:
            fields[column.number], scalars[column.field.name] = _numbers(column.field, values_of(column))
        except ElsewhereError as error:
            reasons.append(f"column {column.name:.80}: {error}")
    in_order = tuple(fields[number] for number in sorted(fields))
    return Places(count, in_order, ranges, scalars, (path,), dict.fromkeys(reasons, count))


def _as_seen(column: ArrowColumn, data: memoryview, ranges: Ranges) -> Field:
    """Return the field of a column, whose first value decides whether bytes are images."""
    if not column.is_guess or not len(ranges.offsets):
        return column.field
    start = int(ranges.offsets[0])
    seen = is_image(data[start : start + int(ranges.lengths[0])])
    return column.field if seen else Field(column.field.name, "bytes")


def _numbers(field: Field, column: Any) -> tuple[Field, NDArray[Any]]:
    """Return the field that takes the numbers of a column, and the numbers, which are no part of a mapped file."""
    try:
        column = column.cast(pa.float64() if field.kind == "float" else pa.int64())
    except pa.ArrowInvalid:  # beyond 64 bits with a sign
        raise ElsewhereError(NOT_ALL) from None
    if field.kind == "class_label" and field.names:
        column = column.fill_null(-1)  # unlabelled; no unsigned type holds it
    if column.null_count:
        raise ElsewhereError(NOT_ALL)
    values = np.array(column, field.dtype)
    low, high = values.min(initial=0), values.max(initial=0)
    if field.kind == "class_label" and (low < -1 or (field.names is not None and high >= len(field.names))):
        field = Field(field.name, "int")
    return field, values
