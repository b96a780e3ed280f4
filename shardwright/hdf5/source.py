"""Samples in HDF5 files: every dataset with one value per sample.

HDF5 can fetch data from other files of the host and run plug-ins. A file that
asks for either is refused: only what lies in the file itself is read, with the
filters that HDF5 brings along.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError, LimitError, ShardwrightError, UnsafeDataError
from shardwright.base.storage.inflate import FileBytes, file_bytes
from shardwright.base.table_source import ArrayTable, TableSource
from shardwright.base.values.array_names import partners
from shardwright.base.values.rows import BLOCK_BYTES, MemoryRows, PackedRows, Rows
from shardwright.hdf5.datasets import (
    GZIP,
    MOST_INFLATION,
    check_inside,
    chunk_bytes,
    filters_of,
    inflate_as_said,
    is_link,
)
from shardwright.hdf5.strings import MAX_TEXT, read_attribute, read_strings

__all__ = ["HDF5Source", "hdf5_names", "open_hdf5"]

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
_MAX_CHUNK = 2**28  # bytes that one chunk may inflate to
_MAX_NUMBERS = 2**26  # bytes that one chunk of single numbers may inflate to: all of them are kept
_MAX_DEPTH, _MAX_DATASETS, _MAX_NAMES = 8, 1000, 100_000


class HDF5Source(TableSource):
    """The samples of one or several HDF5 files.

    Parameters
    ----------
    paths : path or sequence of paths
        The files, in the order of their samples.

    Raises
    ------
    InputError
        If a file is damaged, or holds no samples, or has nothing in common with the first.
    UnsafeDataError
        If it has links, virtual datasets, keeps values in other files, or needs a plug-in.
    ConfigError
        If its datasets have different lengths, and no names that tell which are the images.
    """

    format_name = "hdf5"

    def _table(self, path: Path) -> ArrayTable:
        pair = partners(path.stem, lambda stem: path.with_name(f"{stem}{path.suffix}").is_file())
        if len(pair) > 1:
            return self._joined({field: path.with_name(f"{stem}{path.suffix}") for field, stem in pair.items()}, path)
        return self._own_table(path)

    def _joined(self, files: Mapping[str, Path], path: Path) -> ArrayTable:
        """Return the table of files of one dataset each that belong together: ``a_x.h5``, ``a_y.h5``."""
        tables = {field: self._own_table(file) for field, file in files.items()}
        if any(len(table.arrays) != 1 for table in tables.values()):
            return self._own_table(path)
        arrays = {field: next(iter(table.arrays.values())) for field, table in tables.items()}
        named = {f: next(iter(t.class_names.values())) for f, t in tables.items() if t.class_names}
        left = {reason: count for table in tables.values() for reason, count in table.left_out.items()}
        return ArrayTable(tuple(files.values()), arrays, named, left)

    def _own_table(self, path: Path) -> ArrayTable:
        file = file_bytes(path)
        arrays: dict[str, Rows | ShardwrightError] = {}
        class_names: dict[str, tuple[str, ...]] = {}
        left_out: dict[str, int] = {}
        with _opened(file) as archive:
            for name, dataset in _walk(archive, f"{file.shown}: "):
                if dataset is None:
                    raise UnsafeDataError(
                        f"{file.shown}: {name:.80} is a link to somewhere else: copy its values into the file, or "
                        f"convert one array of it with ArraySource({file.shown!r}, member=...)"
                    )
                check_inside(dataset, f"{file.shown}[{name}]")
                if not dataset.shape:
                    continue  # a single value, said of all samples
                try:
                    arrays[name] = _rows_of(file, archive, name, dataset)
                except ShardwrightError as error:
                    arrays[name] = error
                names = _class_names(file, dataset)
                if names:
                    class_names[name] = names
                elif names is None:
                    left_out[f"class names of dataset {name:.80}: no list of strings that can be read"] = len(dataset)
        return ArrayTable((path,), arrays, class_names, left_out)


@contextmanager
def _opened(file: FileBytes) -> Iterator[Any]:
    """Open the file; what HDF5 raises about it becomes `InputError`."""
    with file.opened():  # an error if it has changed
        pass
    try:
        with h5py.File(file.path, "r", locking=False) as archive:
            yield archive
    except ShardwrightError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"{file.shown} is cut or damaged ({error}): make or copy it again") from error


def _walk(group: Any, where: str, seen: set[int] | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and dataset of all that the file itself holds, each once; ``None`` for a link to elsewhere."""
    seen = set() if seen is None else seen
    if len(group) + len(seen) > _MAX_DATASETS or prefix.count("/") > _MAX_DEPTH:
        raise InputError(
            f"{where}it holds more than {_MAX_DATASETS} datasets, or groups in groups: store images as one dataset"
        )
    for name in group:
        if is_link(group, name):
            yield f"{prefix}{name}", None
            continue
        found = group[name]
        address = h5py.h5o.get_info(found.id).addr
        if address in seen:  # a second name, perhaps of the very group that it is in
            continue
        seen.add(address)
        if isinstance(found, h5py.Group):
            yield from _walk(found, where, seen, f"{prefix}{name}/")
        elif isinstance(found, h5py.Dataset):
            yield f"{prefix}{name}", found


def hdf5_names(file: FileBytes) -> list[str]:
    """Return the paths of the datasets in an HDF5 file, sorted; links are passed over."""
    with _opened(file) as archive:
        return sorted(name for name, dataset in _walk(archive, f"{file.shown}: ") if dataset is not None)


def open_hdf5(file: FileBytes, member: str) -> Rows:
    """Open a dataset of an HDF5 file.

    Raises
    ------
    UnsafeDataError
        If its values lie in other files, or need a plug-in.
    InputError
        If it holds no plain numbers or was not written to the end.
    """
    with _opened(file) as archive:
        return _rows_of(file, archive, member, archive[member])


def _rows_of(file: FileBytes, archive: Any, member: str, dataset: Any) -> Rows:
    name = f"{file.shown}[{member}]"
    check_inside(dataset, name)
    if not dataset.shape:
        raise InputError(f"{name} is a single value: the first axis counts the samples")
    _check_filters(dataset, name)
    if dataset.chunks is not None:
        _check_chunks(dataset, name)
    if h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype.hasobject:
        return _string_rows(file, dataset, name)
    if dataset.chunks is None:
        if dataset.size and dataset.id.get_storage_size() != dataset.nbytes:
            raise InputError(f"{name} was never written to the end: make it again")
        offset = dataset.id.get_offset()
        if offset is not None and not archive.userblock_size and dataset.dtype.kind in "biufc" and _fills(dataset):
            return PackedRows(name, dataset.shape, dataset.dtype, file.part(offset, dataset.nbytes), 0)
    return HDF5Rows(file, member, name, dataset)


def _fills(dataset: Any) -> bool:
    """Whether the values fill their bytes: a camera's 12 bits in 16 do not, and must be turned by HDF5."""
    kind = dataset.id.get_type()
    if kind.get_class() != h5py.h5t.INTEGER:
        return True
    return bool(kind.get_precision() == 8 * kind.get_size() and not kind.get_offset())


def _check_filters(dataset: Any, name: str) -> None:
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
    most = _MAX_CHUNK if dataset.ndim > 1 else _MAX_NUMBERS
    if size > most:
        raise LimitError(f"{name} has chunks of {size} bytes, more than {most}: write it with smaller ones")
    wanted = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() != wanted:
        raise InputError(
            f"{name} has {dataset.id.get_num_chunks()} of its {wanted} chunks; "
            "the others were never written to the end: make it again"
        )


class HDF5Rows(Rows):
    """A dataset that is read through h5py, in blocks of whole chunks.

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
        self.elsewhere = "in chunks or compressed" if dataset.chunks else "not in one piece, or after a user block"
        self.elsewhere = self.elsewhere if _fills(dataset) else "fewer bits than their bytes have"
        per_chunk = dataset.chunks[0] if dataset.chunks else 1
        self.block = max(1, BLOCK_BYTES // max(1, self.row_bytes) // per_chunk) * per_chunk
        if self.block * self.row_bytes > _MAX_CHUNK:  # a chunk spans so many rows that it is read again and again
            self.block = max(1, _MAX_CHUNK // self.row_bytes)
        # Single numbers are read at once, so theirs are always looked at.
        self._could_explode = _most_bytes(dataset) > (_MAX_CHUNK if len(self.shape) > 1 else 0)

    def _read_into(self, start: int, out: NDArray[Any]) -> None:
        with _opened(self._file) as archive:
            if self._could_explode:
                _check_inflation(archive[self._member], start, start + len(out), self.name)
            archive[self._member].read_direct(out, np.s_[start : start + len(out)])

    def state(self) -> str:
        """Return size and modification time of the file."""
        return f"{self.name} {self._file.identity}"


def _most_bytes(dataset: Any) -> int:
    """Return how many bytes could come out of a gzip chunk, however it was made; 0 without gzip."""
    if dataset.chunks is None or GZIP not in filters_of(dataset):
        return 0
    largest = 0

    def see(chunk: Any) -> None:
        nonlocal largest
        largest = max(largest, chunk.size)

    dataset.id.chunk_iter(see)
    return largest * MOST_INFLATION


def _check_inflation(dataset: Any, start: int, stop: int, name: str) -> None:
    """Raise unless the chunks of some rows inflate to their size."""
    starts = [range(0, length, step) for length, step in zip(dataset.shape, dataset.chunks, strict=True)]
    first = dataset.chunks[0]
    starts[0] = range(start // first * first, stop, first)
    if not inflate_as_said(dataset, itertools.product(*starts)):
        raise LimitError(
            f"{name}: a chunk inflates to more than its {chunk_bytes(dataset)} bytes: it is damaged or forged"
        )


def _string_rows(file: FileBytes, dataset: Any, name: str) -> MemoryRows:
    """Return strings of different lengths as bytes of one length."""
    if dataset.ndim != 1:
        raise InputError(f"{name} holds strings of shape {dataset.shape}: give one per sample")
    values = read_strings(file, dataset, name)
    longest = max(map(len, values), default=0)
    if longest * len(values) > MAX_TEXT:
        raise LimitError(f"{name} holds {len(values)} strings of up to {longest} bytes, too long to keep")
    rows = MemoryRows(np.array(values, f"S{max(1, longest)}"), name)
    rows.elsewhere = "strings of any length"
    return rows


def _class_names(file: FileBytes, dataset: Any) -> tuple[str, ...] | None:
    """Return the names of the classes, which may be none; ``None`` if they are no list of strings that can be read."""
    further = (f"class_names_{number}" for number in itertools.count(1))  # an attribute holds 64 KiB
    keys = list(itertools.takewhile(dataset.attrs.__contains__, itertools.chain(["class_names"], further)))
    lengths = [dataset.attrs.get_id(key).shape for key in keys]
    if any(len(shape) != 1 for shape in lengths) or sum(shape[0] for shape in lengths) > _MAX_NAMES:
        return None
    parts = [_texts(file, dataset, key, shape[0]) for key, shape in zip(keys, lengths, strict=True)]
    found = [text for part in parts if part is not None for text in part]
    return None if None in parts else tuple(text.decode("utf-8", "replace") for text in found)


def _texts(file: FileBytes, dataset: Any, key: str, count: int) -> list[bytes] | None:
    """Return the strings of an attribute; those of any length are read without HDF5, as `strings` says."""
    dtype = dataset.attrs.get_id(key).dtype
    if dtype.kind == "S":
        return list(dataset.attrs[key].tolist())
    if h5py.check_string_dtype(dtype) is None:
        return None
    return read_attribute(file, dataset, key, count, f"{file.shown}[{dataset.name}].{key}")
