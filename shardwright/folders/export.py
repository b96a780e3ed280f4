"""Export class folders with the image files, byte for byte."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.export import Samples, image_file, refuse_twice
from shardwright.base.fields import Field
from shardwright.base.open_source import open_files
from shardwright.base.values.export_note import ExportNote
from shardwright.folders.exported import LINES, key_of

__all__ = ["export_folder"]

UNLABELLED = "unlabelled"
# What a name of a folder cannot hold, or should not: a class may be called "../..".
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.|%(?=[0-9A-Fa-f]{2})")


def export_folder(samples: Samples, output: Path) -> None:
    """Write ``<class>/000000007.jpg``, and what else the samples hold.

    Where class folders do not say everything, ``metadata.jsonl`` does: numbers (those that JSON has
    not, as infinity, are ``null``), texts and JSON values, and the names of the files beside the image
    that hold arrays and bytes; and ``shardwright.json`` says what the fields are, so that the folder
    can be converted back. If there are several images per sample, each field has its own tree of
    class folders.

    Parameters
    ----------
    samples : Samples
    output : Path

    Raises
    ------
    InputError
        If the samples have no image.
    ConfigError
        If two fields would have one name in ``metadata.jsonl``.
    """
    image, label = samples.image, samples.label
    if image is None:
        raise InputError("the samples have no image, so there is no file to write: export to tfrecord instead")
    fields = samples.fields.values()
    several = sum(f.is_image for f in fields) > 1
    tops = {f.name: output / (f.name if f.is_image else image.name) if several else output for f in fields}
    output.mkdir()
    keys = [key_of(f, f == image) for f in fields]
    if _has_more(samples, image, label):
        refuse_twice(keys, "{} in metadata.jsonl, where file_name is that of the image")
    seen: set[int] = set()
    hidden = output / f".{LINES}"
    with hidden.open("w", encoding="utf-8", newline="\n") as lines:
        for index, sample in enumerate(samples):
            folder = "" if label is None else _folder_name(label, sample[label.name])
            if label is not None:
                seen.add(sample[label.name])
            stems = {f.name: tops[f.name] / folder / f"{index:09d}" for f in fields}
            line = dict(_stored(f, f == image, sample[f.name], stems[f.name], output) for f in fields)
            lines.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    if _has_more(samples, image, label) or (label is not None and _are_other_classes(label, seen, output)):
        ExportNote(samples.fields, samples.sample_type).write(output)
        hidden.rename(output / LINES)
    else:
        hidden.unlink()


def _has_more(samples: Samples, image: Field, label: Field | None) -> bool:
    return any(f not in (image, label) for f in samples.fields.values())


def _are_other_classes(label: Field, seen: set[int], output: Path) -> bool:
    """Whether the folders of these numbers, read as class folders are, give other classes or other numbers."""
    if list(label.names or ()) != sorted(_folder_name(label, number) for number in seen):
        return True
    try:
        return open_files(output).fields["label"].names != label.names
    except (InputError, KeyError):  # some names of folders say something else
        return True


def _folder_name(label: Field, number: int) -> str:
    if number == -1:
        return UNLABELLED
    if not label.names:
        return f"{number:05d}"  # so that their order is that of the numbers
    name = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", label.names[number]) or "%"
    if len(name.encode(errors="surrogateescape")) > 255:
        raise ConfigError(f"class {number} has a name too long for a folder: {name[:80]}...")
    return name


def _stored(field: Field, is_first: bool, value: Any, stem: Path, output: Path) -> tuple[str, Any]:
    """Write a value to a file of its own, if it needs one; return what ``metadata.jsonl`` says of it."""
    key = key_of(field, is_first)
    if field.is_image:
        data, info = image_file(field, value)
        suffix = info.extension
    elif field.kind == "array":
        data, suffix = _npy(value), f"{field.name}.npy"
    elif field.kind == "bytes":
        data, suffix = value, f"{field.name}.bin"
    elif isinstance(value, float) and not math.isfinite(value):
        return key, None  # JSON has no such number
    else:
        return key, value
    path = stem.with_name(f"{stem.name}.{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return key, path.relative_to(output).as_posix()


def _npy(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value), allow_pickle=False)
    return file.getvalue()
