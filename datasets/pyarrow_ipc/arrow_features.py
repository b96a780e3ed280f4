"""What the columns of a foreign Arrow schema are, with Hugging Face's features where they are named."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datasets.base.adopt_values import field_name, image_kind
from datasets.base.fields import Field
from datasets.base.manifest import parse_json

__all__ = ["ArrowColumn", "columns_of", "is_bytes", "scalar_values"]


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
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        features = parse_json(text, "the metadata 'huggingface'")["info"]["features"] if text else {}
    except (ValueError, KeyError, TypeError):  # another program's words, of no use here
        return {}
    if not isinstance(features, dict):
        return {}
    return {str(k): v for k, v in features.items() if isinstance(v, dict)}


def _column(number: int, column: Any, name: str, feature: dict[str, Any]) -> ArrowColumn | None:
    kind, said = column.type, feature.get("_type")
    if pa.types.is_struct(kind):
        child = kind.get_field_index("bytes")
        if child < 0 or not is_bytes(kind.field(child).type):
            return None
        known = "bytes" if said not in (None, "Image") else image_kind(name)
        return ArrowColumn(number, column.name, Field(name, known), in_struct=True, is_guess=said is None)
    field = _plain_field(name, kind, feature)
    return None if field is None else ArrowColumn(number, column.name, field, is_guess=is_bytes(kind))


def _plain_field(name: str, kind: Any, feature: dict[str, Any]) -> Field | None:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Field(name, "text")
    if is_bytes(kind):
        return Field(name, image_kind(name))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _whole_numbers(name, feature)
    return Field(name, "float") if pa.types.is_floating(kind) else None


def is_bytes(kind: Any) -> bool:
    """Whether a type is that of byte strings with offsets."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _whole_numbers(name: str, feature: dict[str, Any]) -> Field:
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list) and all(isinstance(n, str) for n in names):
        return Field(name, "class_label", names=tuple(names))
    return Field(name, "class_label" if name == "label" else "int")


def scalar_values(field: Field, column: Any) -> tuple[Field, NDArray[Any]] | None:
    """Return the numbers of a column, and the field that takes them; ``None`` if a number is missing.

    Parameters
    ----------
    field : Field
    column : pyarrow.ChunkedArray
    """
    if field.kind == "class_label" and field.names and column.null_count:
        column = column.fill_null(-1)  # unlabelled
    if column.null_count:
        return None
    try:
        values = column.cast(pa.float64() if field.kind == "float" else pa.int64()).to_numpy()
    except pa.ArrowInvalid:  # beyond 64 bits with a sign
        return None
    values = np.ascontiguousarray(values, field.dtype)
    low, high = values.min(initial=0), values.max(initial=0)
    if field.kind == "class_label" and (low < -1 or (field.names is not None and high >= len(field.names))):
        field = Field(field.name, "int")
    return field, values
