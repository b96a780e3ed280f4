"""Export class folders with the image files, byte for byte."""

import json
import math
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base.errors import ConfigError, InputError
from datasets.base.fields import Field
from datasets.exports.samples import Samples, image_file

__all__ = ["export_folder"]

UNLABELLED = "unlabelled"
# What a name of a folder cannot hold, or should not: a class may be called "../..".
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.|%(?=[0-9A-Fa-f]{2})")


def export_folder(samples: Samples, output: Path) -> None:
    """Write ``<class>/000000007.jpg``, and what else the samples hold.

    Numbers, texts and JSON values go to ``metadata.jsonl``, arrays and bytes to
    files beside the image. If there are several images per sample, each field
    has its own tree of class folders.

    Parameters
    ----------
    samples : Samples
    output : Path

    Raises
    ------
    InputError
        If the samples have no image.
    """
    image, label = samples.image, samples.label
    if image is None:
        raise InputError("the samples have no image, so there is no file to write: export to tfrecord instead")
    several = sum(f.is_image for f in samples.fields) > 1
    tops = {f.name: output / (f.name if f.is_image else image.name) if several else output for f in samples.fields}
    output.mkdir()
    with ExitStack() as stack:
        lines: Any = None
        if _needs_lines(samples, image, label):
            lines = stack.enter_context((output / "metadata.jsonl").open("w", encoding="utf-8", newline="\n"))
        for index, sample in enumerate(samples):
            folder = "" if label is None else _folder_name(label, sample[label.name])
            line: dict[str, Any] = {}
            for f in samples.fields:
                stem = tops[f.name] / folder / f"{index:09d}"
                key, shown = _stored(f, f == image, sample[f.name], stem, output)
                line[key] = shown
            if lines is not None:
                lines.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def _needs_lines(samples: Samples, image: Field, label: Field | None) -> bool:
    """Whether the folders do not say everything."""
    others = [f for f in samples.fields if f not in (image, label)]
    return bool(others) or (label is not None and list(label.names or ()) != sorted(label.names or ()))


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
    name = field.name
    if field.is_image:
        data, info = image_file(field, value)
        path = stem.with_name(f"{stem.name}.{info.extension}")
        _write(path, data)
        return "file_name" if is_first else f"{name}_file_name", path.relative_to(output).as_posix()
    if field.kind in ("array", "bytes"):
        path = stem.with_name(f"{stem.name}.{name}.{'npy' if field.kind == 'array' else 'bin'}")
        _write(path, _npy(value) if field.kind == "array" else value)
        return f"{name}_path", path.relative_to(output).as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        return name, None  # JSON has no such number
    return name, value


def _npy(value: Any) -> bytes:
    from io import BytesIO

    file = BytesIO()
    np.save(file, np.asarray(value), allow_pickle=False)
    return file.getvalue()


def _write(path: Path, data: Any) -> None:
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
