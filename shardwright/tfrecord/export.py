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
from shardwright.base.values.export_note import ExportNote
from shardwright.tfrecord.columns import FILENAME, STANDARD, TEXT, feature_of
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
    number              float (32 bits, as TensorFlow has it); one that these do not
                        hold also as the bytes of ``<field>/float64``
    text, bytes, JSON   bytes
    array               its values as int64 or float, ``<field>/shape`` and
                        ``<field>/dtype``; of types that these do not hold the raw
                        bytes, little-endian
    ==================  =========================================================

    Where that does not say everything, ``shardwright.json`` beside the files says what the fields are,
    so that they can be converted back.

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
    seen: set[int] = set()
    records = _records(samples, seen)
    for number in range(files):
        path = output / f"{name}-{samples.split}.tfrecord-{number:05d}-of-{files:05d}"
        with path.open("wb") as file:
            for _, record in zip(range(samples.images_per_file), records, strict=False):
                file.writelines(framed(record))
    if not _says_everything(samples, seen):
        ExportNote(samples.fields, samples.sample_type).write(output)


def _says_everything(samples: Samples, seen: set[int]) -> bool:
    """Whether the standard features say all that there is; `seen`: the numbers of the labels."""
    label = samples.label
    only = ["image"] if label is None else ["image", label.name]
    if list(samples.fields) != only or samples.sample_type != "tuple" or samples.fields["image"].exif != "ignore":
        return False
    if label is not None and label.names:
        return seen - {-1} == set(range(len(label.names)))
    return label is None or (label.kind == "int" and min(seen) <= 0)


def _records(samples: Samples, seen: set[int]) -> Iterator[bytes]:
    """Yield the records, and put the numbers of the labels into `seen`."""
    for index, sample in enumerate(samples):
        if samples.label is not None:
            seen.add(sample[samples.label.name])
        features: dict[str, Values] = {}
        for f in samples.fields.values():
            features |= _features(samples, f, sample[f.name], index)
        record = build_example(features)
        if len(record) > MAX_RECORD:
            raise LimitError(f"sample {index} takes {len(record)} bytes as a record, more than {MAX_RECORD}")
        yield record


def _features(samples: Samples, field: Field, value: Any, index: int) -> dict[str, Values]:
    """Return the features of one value."""
    name = feature_of(field, samples.fields)
    if field.is_image:
        return _image(field, name, value, index)
    if name == STANDARD["label"]:
        names = [field.names[value].encode()] if field.names and value >= 0 else []
        return {name: np.array([value], np.int64), TEXT: names}
    if field.kind == "array":
        return _array(name, np.asarray(value))
    if field.kind == "float":
        return _float(name, float(value))
    if field.is_scalar:
        return {name: np.array([value], np.int64)}
    text = json.dumps(value, ensure_ascii=False) if field.kind == "json" else value
    return {name: [text.encode() if isinstance(text, str) else bytes(text)]}


def _float(name: str, value: float) -> dict[str, Values]:
    with np.errstate(over="ignore"):
        short = np.array([value], np.float32)
    features: dict[str, Values] = {name: short}
    if not np.array_equal(short, [value], equal_nan=True):
        features[f"{name}/float64"] = [np.float64(value).astype("<f8").tobytes()]
    return features


def _image(field: Field, name: str, value: Any, index: int) -> dict[str, Values]:
    data, info = image_file(field, value)
    form = _FORMATS.get(info.extension, info.extension.upper().encode())
    features: dict[str, Values] = {name: [data], f"{name.removesuffix('/encoded')}/format": [form]}
    if name == STANDARD["image"]:
        features |= {
            "image/height": np.array([info.height], np.int64),
            "image/width": np.array([info.width], np.int64),
            FILENAME: [f"{index:09d}.{info.extension}".encode()],
        }
    return features


def _array(name: str, values: np.ndarray) -> dict[str, Values]:
    plain = np.asarray(values, values.dtype.newbyteorder("<"), order="C")
    features: dict[str, Values] = {
        name: [plain.tobytes()],
        f"{name}/shape": np.array(values.shape, np.int64),
        f"{name}/dtype": [plain.dtype.str.encode()],
    }
    if np.can_cast(values.dtype, np.int64, "safe"):
        features[name] = values.astype(np.int64).ravel()
    elif np.can_cast(values.dtype, np.float32, "safe"):
        features[name] = values.astype(np.float32).ravel()
    return features
