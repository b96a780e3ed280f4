"""Export one ``.npz`` file with the arrays that Keras code loads: ``x_train`` and ``y_train``."""

import zipfile
from array import array
from collections.abc import Callable, Iterator, Mapping
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
from shardwright.base.storage.npy import npy_header

__all__ = ["export_npz"]

_TO_ARRAY: dict[str, Callable[[Any], NDArray[Any]]] = {
    "array": np.asarray,
    "image": images.to_array,
    "mask": masks.to_ids,
}


def export_npz(samples: Samples, output: Path) -> None:
    """Write arrays over all samples, one at a time, so memory is bounded by a sample.

    The first image (or else array) is ``x_<split>``, the label ``y_<split>``,
    other fields ``<field>_<split>``, the names of the classes ``classes``.

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
    names = [_name(samples, f, first) for f in samples.fields.values()]
    refuse_twice(names, "the array {}, in which images are x and labels are y")
    # Numbers are collected while the first of the others is written; 8 bytes each, as in an index.
    numbers = {f.name: array("d" if f.kind == "float" else "q") for f in scalars}
    with zipfile.ZipFile(output, "w") as archive:
        for place, f in enumerate(big):
            _write(archive, _name(samples, f, first), _rows(samples, f, {} if place else numbers), len(samples))
        for f in scalars:
            _write(archive, _name(samples, f, first), iter(np.asarray(numbers[f.name])), len(samples))
        if samples.label is not None and samples.label.names:
            _write(archive, "classes", iter(np.array(samples.label.names)), len(samples.label.names))


def _name(samples: Samples, field: Field, first: Field) -> str:
    name = "x" if field == first else "y" if field == samples.label else field.name
    return f"{name}_{samples.split}"


def _rows(samples: Samples, field: Field, numbers: Mapping[str, Any]) -> Iterator[NDArray[Any]]:
    for sample in samples:
        for name, values in numbers.items():
            values.append(sample[name])
        yield _TO_ARRAY[field.kind](sample[field.name])


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
