"""Export TFRecord files of tf.train.Example, without TensorFlow.

Images and labels have the names that TensorFlow's own scripts give them
(``image/encoded``, ``image/class/label``), files the names that TFDS expects.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import LimitError
from shardwright.base.export import Samples, image_file
from shardwright.base.fields import Field
from shardwright.tfrecord.example import Values, build_example
from shardwright.tfrecord.frames import MAX_RECORD, framed

__all__ = ["export_tfrecord"]

_FORMATS = {"jpg": b"JPEG", "tif": b"TIFF"}  # others are called as their extension


def export_tfrecord(samples: Samples, output: Path) -> None:
    """Write ``<name>-<split>.tfrecord-00000-of-00004`` in a new folder; the name is that of the folder.

    ==================  =========================================================
    field               features
    ==================  =========================================================
    first image         ``image/encoded``, ``image/format``, ``image/height``,
                        ``image/width``, ``image/filename``
    other images        ``<field>/encoded``, ``<field>/format``
    label               ``image/class/label``, ``image/class/text``
    whole number        int64
    number              float (32 bits, as TensorFlow has it)
    text, bytes, JSON   bytes
    array               its values as int64 or float, and ``<field>/shape``; of
                        types that these do not hold the raw bytes, little-endian,
                        and ``<field>/shape``, ``<field>/dtype``
    ==================  =========================================================

    Parameters
    ----------
    samples : Samples
    output : Path

    Raises
    ------
    ConfigError
        If protobuf or google-crc32c is not installed.
    LimitError
        If a sample is larger than a record can be.
    """
    build_example({})  # says what has to be installed, before anything is written
    output.mkdir()
    name = re.sub(r"[^a-z0-9_]", "_", output.name.strip(".").removesuffix(".tmp").lower())
    files = -(-len(samples) // samples.images_per_file)
    records = _records(samples)
    for number in range(files):
        path = output / f"{name}-{samples.split}.tfrecord-{number:05d}-of-{files:05d}"
        with path.open("wb") as file:
            for _, record in zip(range(samples.images_per_file), records, strict=False):
                file.writelines(framed(record))


def _records(samples: Samples) -> Iterator[bytes]:
    for index, sample in enumerate(samples):
        features: dict[str, Values] = {}
        for f in samples.fields.values():
            features |= _features(samples, f, sample[f.name], index)
        record = build_example(features)
        if len(record) > MAX_RECORD:
            raise LimitError(f"sample {index} takes {len(record)} bytes as a record, more than {MAX_RECORD}")
        yield record


def _features(samples: Samples, field: Field, value: Any, index: int) -> dict[str, Values]:
    """Return the features of one value."""
    name = field.name
    if field.is_image:
        return _image(field, value, index if field == samples.image else None)
    if field == samples.label:
        text = [field.names[value].encode()] if field.names and value >= 0 else []
        return {"image/class/label": np.array([value], np.int64), "image/class/text": text}
    if field.kind == "array":
        return _array(name, np.asarray(value))
    if field.is_scalar:
        numbers: Values = np.array([value], np.float32) if field.kind == "float" else np.array([value], np.int64)
        return {name: numbers}
    if field.kind == "json":
        return {name: [json.dumps(value, ensure_ascii=False).encode()]}
    return {name: [value.encode() if isinstance(value, str) else bytes(value)]}


def _image(field: Field, value: Any, index: int | None) -> dict[str, Values]:
    data, info = image_file(field, value)
    form = _FORMATS.get(info.extension, info.extension.upper().encode())
    if index is None:
        return {f"{field.name}/encoded": [data], f"{field.name}/format": [form]}
    return {
        "image/encoded": [data],
        "image/format": [form],
        "image/height": np.array([info.height], np.int64),
        "image/width": np.array([info.width], np.int64),
        "image/filename": [f"{index:09d}.{info.extension}".encode()],
    }


def _array(name: str, values: np.ndarray) -> dict[str, Values]:
    shape = np.array(values.shape, np.int64)
    if np.can_cast(values.dtype, np.int64, "safe"):
        return {name: values.astype(np.int64).ravel(), f"{name}/shape": shape}
    if np.can_cast(values.dtype, np.float32, "safe"):
        return {name: values.astype(np.float32).ravel(), f"{name}/shape": shape}
    plain = np.asarray(values, values.dtype.newbyteorder("<"), order="C")
    return {name: [plain.tobytes()], f"{name}/shape": shape, f"{name}/dtype": [str(values.dtype).encode()]}
