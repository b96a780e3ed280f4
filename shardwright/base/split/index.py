"""The byte-range index: where in a split's files every value of every sample lies.

One record per sample in one structured array, an ordinary ``.npy`` file that
readers map into memory, so that any number of worker processes share it. For a
stored field ``f`` a record holds ``f_offset`` and ``f_length`` (bytes) and
``f_xxh3`` (xxh3-64 of the stored bytes); for a scalar field the value itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError, IncompleteDatasetError, UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.split.manifest import Manifest, StoredFile
from shardwright.base.storage.files import hash_file, hash_parts, mapped
from shardwright.base.storage.npy import npy_header

__all__ = ["Ranges", "build_records", "check_file", "check_size", "index_dtype", "map_index", "open_index"]


@dataclass(frozen=True, slots=True)
class Ranges:
    """Where the values of one field lie in one shard.

    Parameters
    ----------
    path : Path
        The file that holds them.
    offsets, lengths : int64, shape (N,)
        Bytes, in the order of the samples.
    """

    path: Path
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def fixed(cls, path: Path, start: int, count: int, nbytes: int) -> "Ranges":
        """Return `count` values of `nbytes` each, end to end from byte `start`.

        Raises
        ------
        CorruptShardError
            If the file is too small for them; `count` may be what a forged header says.
        """
        if start + count * nbytes > path.stat().st_size:
            raise CorruptShardError(f"{path}: {count} values of {nbytes} bytes from byte {start} are not in the file")
        if not nbytes:
            return cls(path, np.broadcast_to(np.int64(start), count), np.broadcast_to(np.int64(0), count))
        return cls(path, start + np.arange(count, dtype=np.int64) * nbytes, np.full(count, nbytes, dtype=np.int64))

    @classmethod
    def joined(cls, path: Path, parts: Sequence[NDArray[np.int64]]) -> "Ranges":
        """Return the ranges of all parts of a file, each offsets and lengths of shape (2, N)."""
        return cls(path, *np.concatenate([np.empty((2, 0), np.int64), *parts], axis=1))


def index_dtype(fields: Sequence[Field]) -> np.dtype[Any]:
    """Return the dtype of one index record."""
    parts: list[tuple[str, str]] = []
    for f in fields:
        if f.is_scalar:
            parts.append((f.name, str(f.dtype)))
        else:
            parts += [(f"{f.name}_offset", "<i8"), (f"{f.name}_length", "<i8"), (f"{f.name}_xxh3", "<u8")]
    return np.dtype(parts)


def build_records(
    fields: Sequence[Field],
    located: Mapping[str, Ranges],
    scalars: Mapping[str, NDArray[Any]],
    count: int,
) -> tuple[NDArray[Any], dict[Path, str]]:
    """Return the index records of one shard, hashing the stored bytes, and the hashes of the files they lie in.

    Raises
    ------
    CorruptShardError
        If the format located another number of values, or ranges outside of the file.
    """
    records = np.zeros(count, dtype=index_dtype(fields))
    held: dict[Path, dict[str, Ranges]] = {}
    for f in fields:
        if f.is_scalar:
            records[f.name] = scalars[f.name]
            continue
        ranges = trim(f, located[f.name])
        if len(ranges.offsets) != count:
            raise CorruptShardError(
                f"{ranges.path}: field {f.name!r} has {len(ranges.offsets)} values, {count} were written"
            )
        records[f"{f.name}_offset"], records[f"{f.name}_length"] = ranges.offsets, ranges.lengths
        held.setdefault(ranges.path, {})[f.name] = ranges
    files = {}
    for path, columns in held.items():
        with mapped(path) as data:
            for ranges in columns.values():
                check_ranges(ranges, len(data))
            offsets, lengths = (np.stack([getattr(r, k) for r in columns.values()]) for k in ("offsets", "lengths"))
            hashes, files[path] = hash_parts(data, offsets, lengths)
        for name, column in zip(columns, hashes, strict=True):
            records[f"{name}_xxh3"] = column
    return records, files


def trim(field: Field, ranges: Ranges) -> Ranges:
    """Leave out the .npy header of fixed arrays that a format stores as .npy files.

    What remains is as long as a value of the field, so every format's fixed
    values are read straight into a batch.
    """
    if not field.is_fixed or field.compression or not len(ranges.lengths):
        return ranges
    header = len(npy_header(str(field.dtype), field.shape or ()))
    if (ranges.lengths == field.nbytes + header).all():
        return Ranges(ranges.path, ranges.offsets + header, ranges.lengths - header)
    return ranges


def check_ranges(ranges: Ranges, size: int) -> None:
    """Raise `CorruptShardError` unless all ranges lie within `size` bytes."""
    bad = _outside(ranges.offsets, ranges.lengths, size)
    if bad.size:
        row = bad[0]
        raise CorruptShardError(
            f"{ranges.path}: value {row} lies at byte {ranges.offsets[row]} with length {ranges.lengths[row]}, "
            f"the file has {size} bytes"
        )


def open_index(path: Path, manifest: Manifest) -> NDArray[Any]:
    """Check the index file of a split and map it into memory.

    Raises
    ------
    IncompleteDatasetError
        If it is missing.
    CorruptShardError
        If its size or hash is not the manifest's.
    """
    check_file(path, manifest.index)
    records = map_index(path, manifest)
    _check_places(path, records, manifest)
    return records


def _check_places(path: Path, records: NDArray[Any], manifest: Manifest, block: int = 2**18) -> None:
    """Raise `CorruptShardError` unless all values lie within their files, as the manifest gives their sizes."""
    ends = np.cumsum([shard.num_samples for shard in manifest.shards])
    for name, number in manifest.field_files.items():
        sizes = np.array([shard.files[number].size for shard in manifest.shards], np.int64)
        for start in range(0, len(records), block):
            part = records[start : start + block]
            room = sizes[np.searchsorted(ends, np.arange(start, start + len(part)), side="right")]
            bad = _outside(part[f"{name}_offset"], part[f"{name}_length"], room)
            if bad.size:
                raise CorruptShardError(f"{path}: field {name!r} of sample {start + bad[0]} lies outside of its file")


def _outside(offsets: NDArray[np.int64], lengths: NDArray[np.int64], size: Any) -> NDArray[np.intp]:
    """Return the numbers of the ranges that are not within `size` bytes."""
    # `size - offsets` cannot wrap, `offsets + lengths` of a forged index can.
    return np.flatnonzero((offsets < 0) | (lengths < 0) | (offsets > size) | (lengths > size - offsets))


def map_index(path: Path, manifest: Manifest) -> NDArray[Any]:
    """Map an index that was checked before, for example in the process that started this one."""
    dtype = index_dtype(manifest.fields)
    header = npy_header_of(dtype, manifest.num_samples)
    check_size(path, manifest.index)
    if len(header) + manifest.num_samples * dtype.itemsize != manifest.index.size:
        raise UnsafeDataError(f"{path}: {manifest.index.size} bytes are not {manifest.num_samples} records of {dtype}")
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise UnsafeDataError(f"{path}: its header is not that of {manifest.num_samples} records of {dtype}")
    if not manifest.num_samples:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r", offset=len(header), shape=(manifest.num_samples,)))


def npy_header_of(dtype: np.dtype[Any], count: int) -> bytes:
    """Return the header of the index file."""
    return npy_header(dtype.descr, (count,))


def check_file(path: Path, stored: StoredFile) -> None:
    """Raise unless a file has the stored size and hash."""
    check_size(path, stored)
    found = hash_file(path)
    if found != stored.xxh3:
        raise CorruptShardError(
            f"{path}: its xxh3-64 is {found}, {stored.xxh3} was written: the file is damaged; "
            "restore it from a copy or convert again"
        )


def check_size(path: Path, stored: StoredFile) -> None:
    """Raise unless a file is there with the stored size."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise IncompleteDatasetError(
            f"{path} is missing; restore it from a copy or convert again; if the split's files lie in another folder, "
            "pass data_path="
        ) from None
    if size != stored.size:
        raise CorruptShardError(
            f"{path} has {size} bytes, {stored.size} were written; restore it from a copy or convert again"
        )
