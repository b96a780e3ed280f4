"""Read many samples at once: sorted by place, adjacent ranges in one call, straight into one buffer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, CorruptShardError, StorageError
from shardwright.base.fields import Field
from shardwright.base.storage.files import MAX_BUFFERS, MappedFiles, Run, aligned_empty, read_runs
from shardwright.base.values.restore import decompress

if TYPE_CHECKING:
    from shardwright.base.reader import Reader

__all__ = ["Columns", "read_columns"]

Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The samples of one call: their places in the split, index records and shards."""

    reader: "Reader"
    positions: NDArray[np.int64]
    records: NDArray[Any]
    shards: NDArray[np.int64]

    def column(self, name: str) -> NDArray[Any]:
        return np.ascontiguousarray(self.records[name])


def read_columns(reader: "Reader", positions: NDArray[np.int64], out: Mapping[str, NDArray[Any]]) -> Columns:
    """Return the stored values at `positions`, one column per field of `reader`."""
    # All fields of a record at once, and not through np.memmap's slower indexing.
    records = reader._index.view(np.ndarray)[positions]
    shards = np.searchsorted(reader._starts, positions, side="right") - 1
    wanted = _Wanted(reader, positions, records, shards)
    columns: Columns = {}
    for f in reader.fields:
        if f.is_scalar:
            columns[f.name] = wanted.column(f.name)
        elif not f.is_fixed:
            columns[f.name] = _read_packed(wanted, f, out.get(f.name))
        elif f.compression:
            columns[f.name] = _inflated(f, _read_packed(wanted, f), out.get(f.name))
        else:
            columns[f.name] = _read_fixed(wanted, f, out.get(f.name))
    return columns


def _read_fixed(wanted: _Wanted, f: Field, out: NDArray[Any] | None) -> NDArray[Any]:
    if out is None:
        out = aligned_empty((len(wanted.positions), *(f.shape or ())), f.dtype)
    else:
        _check_fits(f, out, len(wanted.positions))
    size = f.nbytes
    if (wanted.records[f"{f.name}_length"] != size).any():
        where = wanted.reader.dataset_path
        raise CorruptShardError(f"{where}: the index gives field {f.name!r} another length than {size}")
    if wanted.reader._maps is not None and out.nbytes:
        _copy(wanted, f, wanted.reader._maps, out)
        if not wanted.reader.check:
            return out
    rows = memoryview(out.data).cast("B") if out.nbytes else memoryview(bytearray())
    views = [rows[i * size : (i + 1) * size] for i in range(len(wanted.positions))]
    if wanted.reader._maps is None:
        _read(wanted, f, views)
    _check(wanted, f, views)
    return out


def _check_fits(f: Field, out: NDArray[Any], count: int) -> None:
    """Raise `ConfigError` unless the values of `count` samples fill an array: their bytes go into it as they are."""
    shape = (count, *(f.shape or ()))
    if out.shape != shape or out.dtype != f.dtype or not out.flags.c_contiguous:
        raise ConfigError(
            f"out[{f.name!r}] is of shape {out.shape} and type {out.dtype}"
            f"{'' if out.flags.c_contiguous else ' and not contiguous'}; "
            f"give a contiguous array of shape {shape} and type {np.dtype(f.dtype)}"
        )


def _read_packed(wanted: _Wanted, f: Field, out: NDArray[Any] | None = None) -> list[memoryview]:
    ends = [0, *np.cumsum(wanted.records[f"{f.name}_length"]).tolist()]
    # np.empty takes fresh pages as they are; a bytearray would be zeroed first.
    buffer = memoryview((np.empty(ends[-1], np.uint8) if out is None or out.size < ends[-1] else out).data)
    views = [buffer[a:b] for a, b in pairwise(ends)]
    _read(wanted, f, views)
    _check(wanted, f, views)
    return views


def _inflated(f: Field, values: list[memoryview], out: NDArray[Any] | None) -> NDArray[Any]:
    if out is None:
        out = np.empty((len(values), *(f.shape or ())), dtype=f.dtype)
    else:
        _check_fits(f, out, len(values))
    for row, value in zip(out, values, strict=True):
        row[...] = np.frombuffer(decompress(f, value), f.dtype).reshape(f.shape or ())
    return out


def _read(wanted: _Wanted, f: Field, views: list[memoryview]) -> None:
    """Read one stored value into each view."""
    if views:
        for shard, runs in _by_shard(wanted, f, views):
            path, size = wanted.reader._shard_file(f.name, shard)
            _read_runs(wanted.reader, path, size, runs)


def _copy(wanted: _Wanted, f: Field, maps: MappedFiles, out: NDArray[Any]) -> None:
    """Copy all values out of mapped files; NumPy lets go of Python's lock meanwhile."""
    size, shards = f.nbytes, wanted.shards.tolist()
    files = {shard: maps.get(*wanted.reader._shard_file(f.name, shard)) for shard in set(shards)}
    rows = out.reshape(-1).view(np.uint8).reshape(-1, size)
    for row, shard, start in zip(rows, shards, wanted.column(f"{f.name}_offset").tolist(), strict=True):
        row[:] = files[shard][start : start + size]


def _check(wanted: _Wanted, f: Field, views: list[memoryview]) -> None:
    """Compare values with their hashes, where the reader asks for that."""
    reader = wanted.reader
    if reader.check or (reader.check is None and not f.is_fixed):
        hashes = wanted.column(f"{f.name}_xxh3").tolist()
        for row, view in enumerate(views):
            if xxhash.xxh3_64_intdigest(view) != hashes[row]:
                raise _damaged(reader, f, int(wanted.positions[row]), int(wanted.shards[row]))


def _by_shard(wanted: _Wanted, f: Field, views: list[memoryview]) -> Iterator[tuple[int, list[Run]]]:
    """Yield each shard with the runs to read from it, in the order of the file."""
    offsets, lengths = wanted.column(f"{f.name}_offset"), wanted.column(f"{f.name}_length")
    if len(views) == 1:  # the usual case of a plain DataLoader; the rest takes longer than the reading
        yield wanted.shards.item(), [(offsets.item(), lengths.item(), views)]
        return
    order = np.lexsort((offsets, wanted.shards))
    offsets, lengths, shards = offsets[order], lengths[order], wanted.shards[order]
    apart = (shards[1:] != shards[:-1]) | (offsets[1:] != offsets[:-1] + lengths[:-1])
    apart[MAX_BUFFERS - 1 :: MAX_BUFFERS] = True
    starts = _starts(apart)
    views = [views[row] for row in order.tolist()]
    parts = [views[a:b] for a, b in pairwise([*starts.tolist(), len(views)])]
    runs = list(zip(offsets[starts].tolist(), np.add.reduceat(lengths, starts).tolist(), parts, strict=True))
    numbers = shards[starts]
    firsts = _starts(numbers[1:] != numbers[:-1])
    for shard, (a, b) in zip(numbers[firsts].tolist(), pairwise([*firsts.tolist(), len(runs)]), strict=True):
        yield shard, runs[a:b]


def _starts(changes: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return where runs begin, if `changes` says which values do not belong to the one before."""
    return np.concatenate(([0], np.flatnonzero(changes) + 1))


def _read_runs(reader: "Reader", path: Path, size: int, runs: list[Run]) -> None:
    for attempt in (1, 2):
        try:
            with reader._files.open(path, size) as fd:
                read_runs(fd, runs, path)
            return
        except StorageError:
            if attempt == 2:
                raise
            reader._files.drop(path)  # a handle may go stale when a server replaces the file


def _damaged(reader: "Reader", f: Field, position: int, shard: int) -> CorruptShardError:
    path, _ = reader._shard_file(f.name, shard)
    return CorruptShardError(
        f"{path}: field {f.name!r} of sample {position} is not what was written (its xxh3-64 differs); "
        f"restore the file from a copy or convert again; `shardwright verify {reader.dataset_path}` lists all damage"
    )
