"""Datasets of HDF5 files as arrays.

HDF5 can fetch data from other files of the host and run plug-ins. A file that
asks for either is refused: only what lies in the file itself is read, with the
filters that HDF5 brings along.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, product
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from shardwright.arrays.rows import BLOCK_BYTES, MemoryRows, PackedRows, Rows
from shardwright.base.errors import InputError, LimitError, UnsafeDataError
from shardwright.base.storage.inflate import FileBytes
from shardwright.hdf5.chunks import GZIP, MOST_INFLATION, chunk_bytes, filters_of, inflate_as_said

__all__ = ["hdf5_names", "open_hdf5"]

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
_MAX_CHUNK = 2**28  # bytes that one chunk may inflate to
_MAX_NAMES = 1000


@contextmanager
def _opened(file: FileBytes) -> Iterator[Any]:
    """Open the file; what HDF5 raises about it becomes `InputError`."""
    with file.opened():  # an error if it has changed
        pass
    try:
        with h5py.File(file.path, "r") as archive:
            yield archive
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, (InputError, UnsafeDataError)):
            raise
        raise InputError(f"{file.shown} is cut or damaged ({error}): make or copy it again") from error


def _walk(group: Any, prefix: str = "") -> Iterator[str]:
    """Yield the paths of all datasets, without following links of any kind."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group.get(name, getclass=True)
        if item is h5py.Dataset:
            yield f"{prefix}{name}"
        elif item is h5py.Group and prefix.count("/") < 8:
            yield from _walk(group[name], f"{prefix}{name}/")


def hdf5_names(file: FileBytes) -> list[str]:
    """Return the paths of the datasets in an HDF5 file, sorted."""
    with _opened(file) as archive:
        names = sorted(islice(_walk(archive), _MAX_NAMES + 1))
    if len(names) > _MAX_NAMES:
        raise InputError(f"{file.shown} holds more than {_MAX_NAMES} datasets: store images as one dataset")
    return names


def open_hdf5(file: FileBytes, member: str) -> Rows:
    """Open a dataset of an HDF5 file.

    Raises
    ------
    UnsafeDataError
        If its values lie in other files, or need a plug-in.
    InputError
        If it holds no plain numbers or was not written to the end.
    """
    name = f"{file.shown}[{member}]"
    with _opened(file) as archive:
        dataset = archive[member]
        _check_safe(dataset, name)
        if not dataset.shape:
            raise InputError(f"{name} is a single value: the first axis counts the samples")
        if h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype.hasobject:
            return _string_rows(dataset, name)
        if dataset.chunks is None:
            offset = dataset.id.get_offset()
            if dataset.size and dataset.id.get_storage_size() != dataset.nbytes:
                raise InputError(f"{name} was never written to the end: make it again")
            if offset is not None and not archive.userblock_size and dataset.dtype.kind in "biuf":
                source = file.part(offset, dataset.nbytes)
                return PackedRows(name, dataset.shape, dataset.dtype, source, 0)
        else:
            _check_chunks(dataset, name)
        return HDF5Rows(file, member, name, dataset)


def _check_safe(dataset: Any, name: str) -> None:
    if dataset.external or dataset.is_virtual:
        raise UnsafeDataError(f"{name} takes its values from other files: copy it into one file with h5repack or h5py")
    for code in filters_of(dataset):
        if code not in _FILTERS:
            raise UnsafeDataError(
                f"{name} needs the HDF5 filter {code}, a plug-in: write it with gzip or none; "
                f"read are {', '.join(_FILTERS.values())}"
            )


def _check_chunks(dataset: Any, name: str) -> None:
    size = chunk_bytes(dataset)
    if filters_of(dataset).count(GZIP) > 1:
        raise UnsafeDataError(f"{name} is compressed twice, which may inflate to any size: write it with gzip once")
    if size > _MAX_CHUNK:
        raise LimitError(f"{name} has chunks of {size} bytes, more than {_MAX_CHUNK}: write it with smaller ones")
    wanted = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() != wanted:
        raise InputError(
            f"{name} has {dataset.id.get_num_chunks()} of its {wanted} chunks; "
            "the others were never written: make it again"
        )


class HDF5Rows(Rows):
    """A chunked dataset, read through h5py in blocks of whole chunks.

    Parameters
    ----------
    file, member
        Where it is.
    name : str
        What messages call it.
    dataset : h5py.Dataset
        Looked at now, and opened anew for every read.
    """

    def __init__(self, file: FileBytes, member: str, name: str, dataset: Any) -> None:
        super().__init__(name, dataset.shape, dataset.dtype)
        self._file, self._member = file, member
        per_chunk = dataset.chunks[0] if dataset.chunks else 1
        self.block = max(1, BLOCK_BYTES // max(1, self.row_bytes) // per_chunk) * per_chunk
        if self.block * self.row_bytes > _MAX_CHUNK:  # a chunk spans so many rows that it is read again and again
            self.block = max(1, _MAX_CHUNK // self.row_bytes)
        self._could_explode = _could_explode(dataset)

    def _read_into(self, start: int, out: NDArray[Any]) -> None:
        with _opened(self._file) as archive:
            if self._could_explode:
                _check_inflation(archive[self._member], start, start + len(out), self.name)
            archive[self._member].read_direct(out, np.s_[start : start + len(out)])

    def state(self) -> str:
        """Return size and modification time of the file."""
        return f"{self.name} {self._file.identity}"


def _could_explode(dataset: Any) -> bool:
    """Whether a chunk is so large in the file that more than `_MAX_CHUNK` bytes could come out of it."""
    if dataset.chunks is None or GZIP not in filters_of(dataset):
        return False
    largest = 0

    def see(chunk: Any) -> None:
        nonlocal largest
        largest = max(largest, chunk.size)

    dataset.id.chunk_iter(see)
    return largest * MOST_INFLATION > _MAX_CHUNK


def _check_inflation(dataset: Any, start: int, stop: int, name: str) -> None:
    """Raise unless the chunks of some rows inflate to their size."""
    starts = [range(0, length, step) for length, step in zip(dataset.shape, dataset.chunks, strict=True)]
    first = dataset.chunks[0]
    starts[0] = range(start // first * first, stop, first)
    if not inflate_as_said(dataset, product(*starts)):
        raise LimitError(
            f"{name}: a chunk inflates to more than its {chunk_bytes(dataset)} bytes: it is damaged or forged"
        )


def _string_rows(dataset: Any, name: str) -> MemoryRows:
    """Return strings of different lengths, which are labels, as bytes."""
    values = dataset[:]
    if values.ndim != 1:
        raise InputError(f"{name} holds strings of shape {values.shape}: give one per sample")
    return MemoryRows(values.astype("S"), name)
