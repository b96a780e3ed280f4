"""How a field is made of the features of a record, and back: the names that `export` gives them stand here once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage
from shardwright.base.split.classes import label_field
from shardwright.base.values.export_note import NOTE
from shardwright.tfrecord.example import Example, FeatureStats, Values
from shardwright.tfrecord.files import TfdsFeature

__all__ = [
    "FILENAME",
    "STANDARD",
    "TEXT",
    "Column",
    "column_of",
    "exported_columns",
    "feature_of",
    "number_of",
    "value_of",
]

# The names that TensorFlow's own scripts give to images and labels.
STANDARD = {"image": "image/encoded", "label": "image/class/label"}
TEXT = "image/class/text"
FILENAME = "image/filename"


@dataclass(frozen=True, slots=True)
class Column:
    """How a field is made of a feature."""

    feature: str
    field: Field
    shape: tuple[int, ...] = ()  # of an array; -1: any
    exported: bool = False  # by this library: its shape and its type stand beside it


def feature_of(field: Field, fields: Mapping[str, Field]) -> str:
    """Return the name of the feature that holds a field's values, among these fields, in an export."""
    every = tuple(fields.values())
    if field == next((f for f in every if f.kind == "image"), None):
        return STANDARD["image"]
    if field.kind in ("class_label", "int") and field == label_field(every):
        return STANDARD["label"]
    return f"{field.name}/encoded" if field.is_image else field.name


def exported_columns(fields: Mapping[str, Field], stats: Mapping[str, FeatureStats]) -> dict[str, Column]:
    """Return how the fields that an export has noted are made of its features, or raise `InputError`."""
    columns = {name: Column(feature_of(f, fields), f, exported=True) for name, f in fields.items()}
    missing = sorted(column.feature for column in columns.values() if column.feature not in stats)
    if missing:
        raise InputError(
            f"the records have no feature {missing[0]!r}, of which {NOTE} beside them speaks: delete {NOTE} if it "
            "belongs to other files"
        )
    return columns


def number_of(column: Column, example: Example) -> Any:
    """Return a number; of one that 32 bits do not hold an export has written all bits."""
    exact = example.get(f"{column.feature}/float64") if column.exported else None
    return np.frombuffer(exact[0], "<f8").item() if exact else np.asarray(example[column.feature])[0].item()


def _exported_array(column: Column, example: Example) -> NDArray[Any]:
    values, name = example[column.feature], column.feature
    dtype = np.dtype(bytes(example[f"{name}/dtype"][0]).decode())
    array = np.frombuffer(values[0], dtype) if isinstance(values, list) else np.asarray(values).astype(dtype)
    return array.reshape(np.asarray(example[f"{name}/shape"]).tolist())


def column_of(name: str, key: str, stats: FeatureStats, records: int, described: TfdsFeature | None) -> Column:
    """Return what a feature becomes, seen from all its records."""
    fixed = stats.records == records and stats.shortest == stats.longest
    single = fixed and stats.longest == 1
    if stats.kind is None:
        raise ConfigError(f"feature {key!r} is empty in all records: leave it out of features=")
    if stats.kind == "bytes":
        return Column(key, Field(name, _bytes_kind(key, stats, single, described)))
    dtype = {"int": "<i8", "float": "<f4"}[stats.kind]
    shape: tuple[int, ...] = (stats.longest if fixed else -1,)
    if described is not None and described.kind in ("tensor", "sequence", "bboxFeature") and described.shape:
        dtype, shape = np.dtype(described.dtype or dtype).str, described.shape
    elif single:
        return Column(key, Field(name, stats.kind))
    return Column(key, Field(name, "array", dtype, None if -1 in shape else shape), shape)


def _bytes_kind(key: str, stats: FeatureStats, single: bool, described: TfdsFeature | None) -> str:
    """Return the kind of field that byte strings become; lists of texts become JSON."""
    if described is not None and (described.encoding != "none" or (described.kind == "image" and not stats.images)):
        raise InputError(f"feature {key!r} is stored in a way that is not read: choose others with features=")
    if described is not None and described.kind == "image" and described.dtype not in ("uint8", "uint16"):
        raise InputError(f"feature {key!r} holds images of {described.dtype}: choose others with features=")
    if single:
        return "image" if stats.images else "text" if stats.text else "bytes"
    if stats.text:
        return "json"
    raise InputError(f"feature {key!r} holds {stats.shortest} to {stats.longest} byte strings: choose with features=")


def value_of(column: Column, example: Example) -> Any:
    """Return a field's value in a record."""
    values: Values = example.get(column.feature, [])
    if column.exported and column.field.kind in ("array", "json"):
        return _exported_array(column, example) if column.field.kind == "array" else json.loads(bytes(values[0]))
    if column.field.kind == "array":
        return np.asarray(values).astype(column.field.dtype).reshape(column.shape)
    if column.field.kind == "json":
        return [bytes(value).decode() for value in values]
    value = values[0]
    if column.field.kind == "image":
        return EncodedImage(value, _file_name(example))
    if isinstance(value, bytes):
        return value.decode() if column.field.kind == "text" else value
    return number_of(column, example)


def _file_name(example: Example) -> str:
    found = example.get(FILENAME, [])
    return bytes(found[0]).decode("utf-8", "backslashreplace") if isinstance(found, list) and found else ""
