"""Samples in ``.npy`` files that other programs wrote: one array of images, labels beside it."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.file_source import FilesSource
from shardwright.base.source import Places
from shardwright.base.storage.npy import read_npy_header
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.found import field_name
from shardwright.base.values.infer import field_of_array, number_field

__all__ = ["NpySource"]

# The words by which arrays of the same samples are told apart: images-00000.npy and labels-00000.npy.
_WORDS = (("image", "label", "mask"), ("images", "labels", "masks"), ("x", "y"), ("X", "y"), ("data", "labels"))
_NAMES = ("image", "label", "mask")  # of the fields that they become, in this order
_FIELDS = {word: name for words in _WORDS for word, name in zip(words, _NAMES, strict=False)}


def adopt_npy(path: Path) -> Places:
    """Find the samples of an ``.npy`` file, and of those beside it whose names say that they belong to it.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If values of a sample do not lie together, or files that belong together differ in length.
    UnsafeDataError
        If it holds Python objects.
    """
    fields: dict[str, Field] = {}
    ranges: dict[str, Ranges] = {}
    scalars: dict[str, NDArray[Any]] = {}
    counts: dict[Path, int] = {}
    for name, file in _together(path).items():
        shape, dtype, offset = _header(file)
        counts[file] = shape[0]
        if len(shape) == 1:
            values = np.fromfile(file, dtype, shape[0], offset=offset)
            fields[name], scalars[name] = number_field(name, values, str(file))
        else:
            fields[name] = field_of_array(name, shape[1:], dtype, str(file))
            ranges[name] = Ranges.fixed(file, offset, shape[0], fields[name].nbytes)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{file.name} {count}" for file, count in counts.items())
        raise InputError(f"{path.parent}: files that belong together hold another number of values: {listed}")
    return Places(counts[path], tuple(fields.values()), ranges, scalars, tuple(counts))


def _together(path: Path) -> dict[str, Path]:
    """Return field name to file, of the file and of those beside it whose names differ in one word only."""
    parts = re.split(r"([A-Za-z]+)", path.name.removesuffix(".npy"))
    for place in range(len(parts) - 1, -1, -1):
        for words in _WORDS:
            if parts[place] in words:
                files = [path.with_name("".join([*parts[:place], w, *parts[place + 1 :], ".npy"])) for w in words]
                there = {name: file for name, file in zip(_NAMES, files, strict=False) if file.is_file()}
                if len(there) > 1:
                    return there
    named = (_FIELDS[part] for part in reversed(parts) if part in _FIELDS)
    return {next(named, field_name(parts[0] or "array", ())): path}


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, dtype and where the values begin."""
    with path.open("rb") as file:
        shape, fortran, dtype = read_npy_header(file, str(path))
        offset, size = file.tell(), path.stat().st_size
    if fortran and len(shape) > 1:
        raise InputError(f"{path} is in Fortran order, so no sample lies there in one piece: convert it")
    if offset + math.prod(shape) * dtype.itemsize != size:
        raise InputError(f"{path} has {size} bytes, an array of shape {shape} and {dtype} does not: it is cut")
    if shape[0] and offset == size:
        raise InputError(f"{path} has shape {shape}: its values have no bytes, there is nothing to read")
    return shape, dtype, offset


class NpySource(FilesSource):
    """The samples of such files.

    Parameters
    ----------
    paths : path or sequence of paths
    """

    format_name = "memmap"

    def _look(self, path: Path) -> Places:
        return adopt_npy(path)
