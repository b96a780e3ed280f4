"""Export one ``.npz`` file with the arrays that Keras code loads: ``x_train`` and ``y_train``."""

import zipfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base import images
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.export import Samples, refuse_twice
from shardwright.base.fields import Field
from shardwright.base.images import masks
from shardwright.base.split.classes import label_field
from shardwright.base.storage.npy import npy_header
from shardwright.base.values.class_lists import list_name

__all__ = ["export_npz"]

_TO_ARRAY: dict[str, Callable[[Field, Any], NDArray[Any]]] = {
    "array": lambda _, value: np.asarray(value),
    "image": lambda field, value: images.to_array(value, exif=field.exif),
    "mask": lambda _, value: masks.to_ids(value),
}


def export_npz(samples: Samples, output: Path) -> None:
    """Write arrays over all samples, one at a time, so memory is bounded by a sample.

    The first image (or else array) is ``x_<split>``, the label ``y_<split>``, the names of its
    classes ``classes``; other fields keep their names, and those of their classes are
    ``<field>_classes``. All that comes back when the file is converted.

    Parameters
    ----------
    samples : Samples
    output : Path

    Raises
    ------
    ConfigError
        If a field has values without a fixed size, such as text, or two fields would get one name.
    InputError
        If images or arrays differ in size or type.
    """
    scalars = [f for f in samples.fields.values() if f.is_scalar]
    big = [f for f in samples.fields.values() if not f.is_scalar]
    for f in big:
        if f.kind not in _TO_ARRAY:
            fitting = [f.name for f in samples.fields.values() if f.is_scalar or f.kind in _TO_ARRAY]
            raise ConfigError(f"field {f.name!r} ({f.kind}) fits no array: leave it out with columns={fitting}")
    if not big:
        raise InputError("the samples have neither images nor arrays; there is nothing to be x")
    first = samples.image or big[0]
    label = label_field(tuple(samples.fields.values()))
    words = {label.name: "y"} if label in scalars else {}
    names = {f.name: _name(samples, f, words | {first.name: "x"}) for f in samples.fields.values()}
    lists = {list_name(f.name, f == label): f.names for f in scalars if f.names}
    refuse_twice([*names.values(), *lists], "the array {}, in which images are x and labels are y")
    # Numbers are collected while the first of the others is written; 8 bytes each, as in an index.
    numbers = {f.name: array("d" if f.kind == "float" else "q") for f in scalars}
    with zipfile.ZipFile(output, "w") as archive:
        for place, f in enumerate(big):
            _write(archive, names[f.name], _rows(samples, f, {} if place else numbers), len(samples))
        for f in scalars:
            _write(archive, names[f.name], iter(np.asarray(numbers[f.name])), len(samples))
        for name, classes in lists.items():
            _write(archive, name, _texts(classes), len(classes))


def _name(samples: Samples, field: Field, words: Mapping[str, str]) -> str:
    return f"{words[field.name]}_{samples.split}" if field.name in words else field.name


def _texts(names: Sequence[str]) -> Iterator[NDArray[Any]]:
    """Yield texts as arrays of one type, which is as long as the longest: no pickle is needed to read them."""
    array = np.array(names)
    return (array[i, ...] for i in range(len(array)))


def _rows(samples: Samples, field: Field, numbers: Mapping[str, Any]) -> Iterator[NDArray[Any]]:
    for sample in samples:
        for name, values in numbers.items():
            values.append(sample[name])
        yield _TO_ARRAY[field.kind](field, sample[field.name])


def _write(archive: zipfile.ZipFile, name: str, rows: Iterator[NDArray[Any]], count: int) -> None:
    """Write one array, row by row, as a member that is not compressed."""
    first = next(rows)
    dtype = first.dtype.newbyteorder("<")
    # The time of a ZipInfo is fixed, so the same samples give the same bytes.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        member.write(npy_header(dtype.str, (count, *first.shape)))
        for number, row in enumerate(chain([first], rows)):
            if row.shape != first.shape or row.dtype != first.dtype:
                raise InputError(
                    f"sample {number}: {name} has shape {row.shape} and type {row.dtype}, the first has {first.shape} "
                    f"and {first.dtype}: convert to memmap with shape= and im_mode=, then export that"
                )
            member.write(np.asarray(row, dtype, order="C").tobytes())
