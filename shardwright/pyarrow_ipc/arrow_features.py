"""What the columns of a foreign Arrow schema are, with Hugging Face's features where they are named."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.file_source import value_of
from shardwright.base.images import EncodedImage
from shardwright.base.source import Places
from shardwright.base.storage.ranges import Ranges
from shardwright.base.storage.strict_json import parse_json
from shardwright.base.values.infer import field_name, field_of_array, is_image
from shardwright.base.values.mask_values import image_kind

__all__ = [
    "NOT_ALL",
    "ArrowColumn",
    "LeftOutError",
    "Seen",
    "columns_of",
    "decoded_value",
    "find_columns",
    "first_of",
    "values_of",
]

NOT_ALL = "missing or too large values"
_NO_BYTES = "only the paths of its files are here; write it with the files' bytes, as Dataset.to_parquet does"


class LeftOutError(Exception):
    """A column is no field, for this reason."""


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
    is_plain : bool
        Whether the values are strings of bytes or of text with offsets, which may lie in a file as they are.
    otherwise : str
        The kind of the field if the first value is no image; empty: the type says what it is.
    """

    number: int
    name: str
    field: Field
    in_struct: bool = False
    is_plain: bool = False
    otherwise: str = ""


@dataclass(slots=True)
class Seen:
    """What a file holds of a column that is not of numbers.

    Parameters
    ----------
    ranges : list of ndarray
        Offsets and lengths (int64, 2×N) of the values in each part of the file.
    elsewhere : str
        Why the values do not lie there as they are; empty: they do.
    missing : int
        Rows that have no value, as far as the file says so.
    first : object
        The first value, where it decides what the column is.
    """

    ranges: list[NDArray[np.int64]] = field(default_factory=list)
    elsewhere: str = ""
    missing: int = 0
    first: bytes | None = None


def columns_of(schema: Any) -> tuple[list[ArrowColumn], list[str]]:
    """Return the columns that can be read, and why others cannot."""
    features = _features(schema)
    found: list[ArrowColumn] = []
    reasons: list[str] = []
    for number, column in enumerate(schema):
        name = field_name(column.name, [c.field.name for c in found])
        try:
            found.append(_column(number, column, name, features.get(column.name) or {}))
        except LeftOutError as error:
            reasons.append(f"column {column.name:.80}: {error}")
    return found, reasons


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Return Hugging Face's description of each column, as far as there is one."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = parse_json(text, "the metadata 'huggingface'")["info"]["features"]
        return {str(k): v for k, v in features.items() if isinstance(v, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):  # another program's words, of no use here
        return {}


def _column(number: int, column: Any, name: str, feature: dict[str, Any]) -> ArrowColumn:
    kind, said = _decoded_type(column.type), feature.get("_type")
    if pa.types.is_struct(kind) and (said in ("Image", "Audio", "Video") or kind.get_field_index("bytes") >= 0):
        return _file_column(number, column.name, name, kind, said)
    if _is_text(kind):
        return ArrowColumn(number, column.name, Field(name, "text"), is_plain=_has_offsets(column.type))
    if _is_bytes(kind):
        plain = _has_offsets(column.type)
        return ArrowColumn(number, column.name, Field(name, image_kind(name)), is_plain=plain, otherwise="bytes")
    if kind != column.type:
        raise LeftOutError(f"type {column.type!s:.80}")
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return ArrowColumn(number, column.name, _whole_numbers(name, feature))
    if pa.types.is_floating(kind):
        return ArrowColumn(number, column.name, Field(name, "float"))
    return _nested_column(number, column.name, name, kind)


def _file_column(number: int, column: str, name: str, kind: Any, said: str | None) -> ArrowColumn:
    """Return a struct of the bytes and the path of a file."""
    child = kind.get_field_index("bytes")
    if child < 0 or pa.types.is_null(kind.field(child).type):
        raise LeftOutError(_NO_BYTES)
    found = _decoded_type(kind.field(child).type)
    if not _is_bytes(found):
        raise LeftOutError(f"type {kind!s:.80}")
    known = image_kind(name) if said in (None, "Image") else "bytes"
    guess = "" if said else "bytes"
    plain = _has_offsets(kind.field(child).type)
    return ArrowColumn(number, column, Field(name, known), in_struct=True, is_plain=plain, otherwise=guess)


def _nested_column(number: int, column: str, name: str, kind: Any) -> ArrowColumn:
    """Return a column of lists: an array of one shape, bytes of an image or an array of any length, else JSON."""
    shape, inner = _fixed_shape(kind)
    if shape and pa.types.is_primitive(inner) and _is_number(inner):
        dtype = np.dtype(inner.to_pandas_dtype())
        return ArrowColumn(number, column, _field_of_lists(name, shape, dtype))
    if _is_list(kind) and _is_number(kind.value_type):
        if pa.types.is_uint8(kind.value_type):
            return ArrowColumn(number, column, Field(name, image_kind(name)), otherwise="array")
        return ArrowColumn(number, column, Field(name, "array"))
    if (_is_list(kind) or shape or pa.types.is_struct(kind)) and _is_json(kind):
        return ArrowColumn(number, column, Field(name, "json"))
    raise LeftOutError(f"type {kind!s:.80}")


def _field_of_lists(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Field:
    try:
        return field_of_array(name, (1, *shape), dtype, "it")
    except ConfigError:  # a picture of 3 x 3 pixels, or so: nobody can say which axis is which
        return Field(name, "array", dtype.str, shape)


def _decoded_type(kind: Any) -> Any:
    """Return the type of the values of a column of bytes or text, whether there is a dictionary or not."""
    is_dictionary = pa.types.is_dictionary(kind) and (_is_text(kind.value_type) or _is_bytes(kind.value_type))
    return kind.value_type if is_dictionary else kind


def _has_offsets(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_string(kind) or types.is_large_string(kind)
    )


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: Any) -> bool:
    types = pa.types
    fixed = types.is_fixed_size_binary(kind) and kind.byte_width > 0
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind) or fixed)


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_json(kind: Any) -> bool:
    """Whether JSON keeps the values of a type as they are."""
    if pa.types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        return len(set(names)) == len(names) > 0 and all(_is_json(kind.field(n).type) for n in range(kind.num_fields))
    if _is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_json(kind.value_type)
    return _is_number(kind) or pa.types.is_boolean(kind) or _is_text(kind)


def _fixed_shape(kind: Any) -> tuple[tuple[int, ...], Any]:
    """Return the shape of lists that all have one length, and the type of what is in them."""
    shape: tuple[int, ...] = ()
    while pa.types.is_fixed_size_list(kind):
        shape, kind = (*shape, kind.list_size), kind.value_type
    return (shape if math.prod(shape) else ()), kind


def _whole_numbers(name: str, feature: dict[str, Any]) -> Field:
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list) and all(isinstance(n, str) for n in names):
        return Field(name, "class_label", names=tuple(names))
    return Field(name, "class_label" if name == "label" else "int")


def find_columns(
    path: Path,
    count: int,
    columns: tuple[list[ArrowColumn], Sequence[str]],
    seen_of: Callable[[ArrowColumn], Seen],
    numbers_of: Callable[[ArrowColumn], Any],
) -> Places:
    """Return what a file of columns holds.

    Parameters
    ----------
    path : Path
    count : int
        Rows.
    columns : tuple
        What `columns_of` says of its schema.
    seen_of : callable
        Gets a column that is not of numbers.
    numbers_of : callable
        Gets a column of numbers, returns them (pyarrow.ChunkedArray). Either may raise `LeftOutError`.

    Raises
    ------
    InputError
        If there is nothing but numbers.
    """
    known, reasons = columns[0], list(columns[1])
    fields: dict[int, Field] = {}
    ranges: dict[str, Ranges] = {}
    elsewhere: dict[str, str] = {}
    scalars: dict[str, NDArray[Any]] = {}
    for column in sorted(known, key=lambda column: column.field.is_scalar):
        name = column.field.name
        try:
            if column.field.is_scalar:
                fields[column.number], scalars[name] = _numbers(column.field, numbers_of(column))
                continue
            seen = seen_of(column)
            fields[column.number] = _as_seen(column, seen, count)
        except LeftOutError as error:
            reasons.append(f"column {column.name:.80}: {error}")
            continue
        if why := _not_in_place(fields[column.number], seen, count):
            elsewhere[name] = why
        else:
            ranges[name] = Ranges.joined(path, seen.ranges)
    if count and not ranges and not elsewhere:
        raise InputError(f"{path}: no column can be read but numbers ({'; '.join(reasons) or 'it has none'})")
    in_order = tuple(fields[number] for number in sorted(fields))
    return Places(count, in_order, ranges, scalars, (path,), dict.fromkeys(reasons, count), elsewhere)


def _as_seen(column: ArrowColumn, seen: Seen, count: int) -> Field:
    """Return the field of a column, whose first value may decide whether bytes are images."""
    found = column.field
    if column.otherwise and seen.first is not None and not is_image(seen.first):
        found = Field(found.name, column.otherwise)
    if seen.missing and found.is_image and seen.missing == count:
        raise LeftOutError(_NO_BYTES if column.in_struct else "it is empty")
    if seen.missing and not found.is_image and found.kind != "json":
        raise LeftOutError(f"{seen.missing} values are missing")
    return found


def _not_in_place(found: Field, seen: Seen, count: int) -> str:
    if found.is_image and seen.missing:
        return f"{seen.missing} of {count} images are missing, which on_error='skip' of a converter leaves out"
    return seen.elsewhere


def _numbers(field: Field, column: Any) -> tuple[Field, NDArray[Any]]:
    """Return the field that takes the numbers of a column, and the numbers, which are no part of a mapped file."""
    try:
        column = column.cast(pa.float64() if field.kind == "float" else pa.int64())
    except pa.ArrowInvalid:  # beyond 64 bits with a sign
        raise LeftOutError(NOT_ALL) from None
    if field.kind == "float":
        column = column.fill_null(float("nan"))
    elif field.kind == "class_label" or field.name == "label":
        column = column.fill_null(-1)  # unlabelled; no unsigned type holds it
    if column.null_count:
        raise LeftOutError(NOT_ALL)
    values = np.array(column, field.dtype)
    low, high = values.min(initial=0), values.max(initial=0)
    if field.kind == "class_label" and (low < -1 or (field.names is not None and high >= len(field.names))):
        field = Field(field.name, "int")
    return field, values


def values_of(column: ArrowColumn, values: Any) -> Any:
    """Return the array of a column's values, missing where the struct is that they are in."""
    return values.flatten()[values.type.get_field_index("bytes")] if column.in_struct else values


def decoded_value(found: Field, values: Any, row: int) -> Any:
    """Return one value of a decoded column, as sources give it.

    Raises
    ------
    InputError
        If it is missing, or the numbers of an array are.
    """
    value = values[row]
    if found.kind == "json":
        return value.as_py()
    if not value.is_valid:
        raise InputError(f"field {found.name!r} has no value here")
    if not _is_list(value.type) and not pa.types.is_fixed_size_list(value.type):
        return EncodedImage(value.as_py()) if found.is_image else value.as_py()
    array = _array(found, value.values)
    if found.is_fixed:
        return value_of(found, array.tobytes())
    return EncodedImage(array.tobytes()) if found.is_image else array


def _array(found: Field, values: Any) -> NDArray[Any]:
    while pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    if values.null_count or (found.is_fixed and len(values) != math.prod(found.shape or ())):
        raise InputError(f"field {found.name!r}: numbers are missing in the list")
    return np.array(values)


def first_of(column: ArrowColumn, values: Any) -> bytes | None:
    """Return the first value that is there as bytes, if the column is decided by it."""
    if not column.otherwise:
        return None
    kept = values.drop_null()
    if not len(kept):
        return None
    return bytes(kept[0].values.drop_null().to_numpy() if _is_list(values.type) else kept[0].as_py())
