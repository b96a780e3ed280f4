"""The byte-range index: where in a split's files every value of every sample lies.

One record per sample in one structured array, an ordinary ``.npy`` file that
readers map into memory, so that any number of worker processes share it. For a
stored field ``f`` a record holds ``f_offset`` and ``f_length`` (bytes) and
``f_xxh3`` (xxh3-64 of the stored bytes); for a scalar field the value itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError, UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.split.manifest import Manifest
from shardwright.base.storage.atomic import check_file, check_size
from shardwright.base.storage.files import mapped
from shardwright.base.storage.hashes import hash_parts
from shardwright.base.storage.npy import npy_header
from shardwright.base.storage.ranges import Ranges, check_ranges, ranges_outside

__all__ = ["Ranges", "build_records", "index_dtype", "map_index", "open_index"]


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
            bad = ranges_outside(part[f"{name}_offset"], part[f"{name}_length"], room)
            if bad.size:
                raise CorruptShardError(f"{path}: field {name!r} of sample {start + bad[0]} lies outside of its file")


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
