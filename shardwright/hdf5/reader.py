"""Read splits of HDF5 files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.reader import Reader
from shardwright.base.storage.ranges import Ranges
from shardwright.hdf5.datasets import check_inside, is_link

__all__ = ["HDF5Reader"]


class HDF5Reader(Reader):
    """A split of HDF5 files; see `Reader`.

    Examples
    --------
    >>> reader = HDF5Reader("out", output="tensor")  # doctest: +SKIP
    >>> image, label = reader[0]  # doctest: +SKIP
    """

    format_name = "hdf5"

    @staticmethod
    def _read_scalars(path: Path, fields: tuple[Field, ...]) -> Mapping[str, np.ndarray]:
        import h5py  # only verify reads scalars

        with h5py.File(path, "r") as file:
            return {f.name: _numbers(path, file, f) for f in fields if f.is_scalar}

    @staticmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        import h5py  # only a converter locates

        with h5py.File(path, "r", locking=False) as file:
            return {f.name: _ranges(path, file, f) for f in fields if not f.is_scalar}


def _numbers(path: Path, file: Any, field: Field) -> np.ndarray:
    dataset = _dataset(path, file, field)
    if dataset.chunks is not None:  # a filter could be a plug-in, and inflate a little to any size
        raise UnsafeDataError(f"{path}: dataset {field.name!r} is in chunks, which this library does not write")
    return np.asarray(dataset[...])


def _ranges(path: Path, file: Any, field: Field) -> Ranges:
    dataset = _dataset(path, file, field)
    if dataset.chunks is None:
        return Ranges.fixed(path, dataset.id.get_offset() or 0, len(dataset), field.nbytes)
    chunks: list[tuple[int, int, int]] = []
    dataset.id.chunk_iter(lambda c: chunks.append((c.chunk_offset[0], c.byte_offset, c.size)))
    rows, offsets, lengths = np.array(sorted(chunks), np.int64).reshape(-1, 3).T
    if len(rows) != len(dataset) or not np.array_equal(rows, np.arange(len(rows))):
        raise UnsafeDataError(f"{path}: dataset {field.name!r} does not have one chunk per sample")
    return Ranges(path, offsets.copy(), lengths.copy())


def _dataset(path: Path, file: Any, field: Field) -> Any:
    """Return a dataset whose values, as many as it says, all lie in this file."""
    if is_link(file, field.name):
        raise UnsafeDataError(f"{path}: dataset {field.name!r} is missing or a link to somewhere else")
    dataset = file[field.name]
    check_inside(dataset, f"{path}: dataset {field.name!r}")
    # What was never written takes no room in the file, and would be made of nothing when it is read.
    end = 0 if dataset.chunks else (dataset.id.get_offset() or 0) + dataset.nbytes
    if end > path.stat().st_size:
        raise UnsafeDataError(
            f"{path}: dataset {field.name!r} has shape {dataset.shape}, for which the file is too small"
        )
    return dataset
