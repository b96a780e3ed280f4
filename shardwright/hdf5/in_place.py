"""Samples in HDF5 files that other programs wrote: datasets that lie there in one piece.

HDF5 can fetch data from other files of the host and run plug-ins. A file that
asks for either is refused.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError, UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.file_source import FilesSource
from shardwright.base.source import Places
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.found import field_name
from shardwright.base.values.infer import field_of_array, number_field
from shardwright.hdf5.chunks import GZIP, chunk_bytes, filters_of, inflate_as_said

__all__ = ["HDF5Source"]

_FILTERS = (1, 2, 3)  # gzip, shuffle and fletcher32, which every HDF5 has
_MAX_DEPTH, _MAX_DATASETS, _MAX_NAMES = 8, 1000, 100_000
_MAX_CHUNK = 2**26  # bytes
_NAMES = {"images": "image", "x": "image", "labels": "label", "y": "label", "masks": "mask"}


def adopt_hdf5(path: Path) -> Places:
    """Find the samples of an HDF5 file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If no dataset lies there in one piece, or they differ in length.
    UnsafeDataError
        If it has links, virtual datasets, or keeps values in other files.
    """
    with h5py.File(path, "r", locking=False) as file:
        if file.userblock_size:
            raise InputError(f"{path} begins with a user block, which moves all offsets: write it without")
        datasets = list(_datasets(path, file, set()))
        left_out: dict[str, int] = {}
        fields: dict[str, Field] = {}
        ranges: dict[str, Ranges] = {}
        scalars: dict[str, NDArray[Any]] = {}
        for name, dataset in datasets:
            if dataset.ndim > 1 and (reason := _reason(dataset)):
                left_out[f"dataset {name:.80}: {reason}"] = len(dataset)
            elif dataset.ndim > 1:
                own = field_name(_NAMES.get(name, name), fields)
                fields[own] = field_of_array(own, dataset.shape[1:], dataset.dtype, f"{path}[{name}]")
                ranges[own] = Ranges.fixed(path, dataset.id.get_offset() or 0, len(dataset), fields[own].nbytes)
        counts = {len(found.offsets) for found in ranges.values()}
        if len(counts) != 1:
            reasons = "; ".join(left_out) or f"{len(ranges)} arrays of {sorted(counts)} samples"
            raise InputError(f"{path}: its samples cannot be read in place ({reasons}): convert it")
        count = counts.pop()
        for name, dataset in datasets:
            if dataset.ndim == 1 and not _is_number_per_sample(dataset, count):
                left_out[f"dataset {name:.80}: not one number per sample"] = dataset.size
            elif dataset.ndim == 1:
                own, names = field_name(_NAMES.get(name, name), fields), _class_names(name, dataset, left_out)
                fields[own], scalars[own] = number_field(own, np.asarray(dataset[...]), f"{path}[{name}]", names)
    return Places(count, tuple(fields.values()), ranges, scalars, (path,), left_out)


def _datasets(path: Path, group: Any, seen: set[int], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and dataset of all that the file itself holds, each once."""
    if len(group) + len(seen) > _MAX_DATASETS or prefix.count("/") > _MAX_DEPTH:
        raise InputError(f"{path} holds more than {_MAX_DATASETS} datasets, or groups in groups: these are no samples")
    for name in group:
        # A link could lead to any other file of this host, or back to its own group.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UnsafeDataError(
                f"{path}: {prefix}{name:.80} is a link to somewhere else: copy its values into the file"
            )
        found = group[name]
        address = h5py.h5o.get_info(found.id).addr
        if address in seen:  # a second name, perhaps of the very group that it is in
            continue
        seen.add(address)
        if isinstance(found, h5py.Group):
            yield from _datasets(path, found, seen, f"{prefix}{name}/")
        elif isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise UnsafeDataError(f"{path}: dataset {prefix}{name:.80} keeps its values in other files")
            yield f"{prefix}{name}", found


def _reason(dataset: Any) -> str:
    """Return why a dataset's values do not lie in one piece; empty if they do."""
    if dataset.dtype.kind not in "biufc" or not dataset.dtype.isnative:
        return f"type {dataset.dtype!s:.80}"
    if dataset.chunks is not None:
        return "in chunks or compressed"
    if len(dataset) and not dataset.size:
        return "values of no bytes"
    if dataset.size and (dataset.id.get_offset() is None or dataset.id.get_storage_size() != dataset.nbytes):
        return "not written to the end"
    return ""


def _is_number_per_sample(dataset: Any, count: int) -> bool:
    """Whether a dataset can be read as numbers, without a filter that a plug-in would bring."""
    filters = filters_of(dataset)
    plain = all(number in _FILTERS for number in filters)
    return (
        plain and dataset.shape == (count,) and dataset.dtype.kind in "biuf" and _is_as_large_as_said(dataset, filters)
    )


def _is_as_large_as_said(dataset: Any, filters: list[int]) -> bool:
    if dataset.chunks is None:
        return True
    if chunk_bytes(dataset) > _MAX_CHUNK or filters.count(GZIP) > 1:
        return False
    places: list[tuple[int, ...]] = []
    dataset.id.chunk_iter(lambda chunk: places.append(chunk.chunk_offset))
    return GZIP not in filters or inflate_as_said(dataset, places)


def _class_names(name: str, dataset: Any, left_out: dict[str, int]) -> tuple[str, ...] | None:
    """Return the names of the classes, if they are strings of one length.

    Others lie in HDF5's global heap, in which the library may go round in circles if the file is damaged.
    """
    further = (f"class_names_{number}" for number in itertools.count(1))  # an attribute holds 64 KiB
    keys = list(itertools.takewhile(dataset.attrs.__contains__, itertools.chain(["class_names"], further)))
    stored = [dataset.attrs.get_id(key) for key in keys]
    plain = all(names.dtype.kind == "S" and len(names.shape) == 1 for names in stored)
    if plain and 0 < sum(names.shape[0] for names in stored) <= _MAX_NAMES:
        return tuple(text.decode("utf-8", "replace") for key in keys for text in dataset.attrs[key].tolist())
    if keys:
        left_out[f"class names of dataset {name:.80}: not strings of one length"] = len(dataset)
    return None


class HDF5Source(FilesSource):
    """The samples of such files.

    Parameters
    ----------
    paths : path or sequence of paths
    """

    format_name = "hdf5"

    def _look(self, path: Path) -> Places:
        return adopt_hdf5(path)
