"""Read many samples at once: sorted by place, adjacent ranges in one call, straight into one buffer."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from datasets.base.errors import CorruptShardError, StorageError
from datasets.base.fields import Field
from datasets.base.storage import MAX_BUFFERS, read_into
from datasets.base.values import decompress

if TYPE_CHECKING:
    from datasets.base.reader import Reader

__all__ = ["Columns", "read_columns"]

Columns = dict[str, Any]


def read_columns(reader: "Reader", positions: NDArray[np.int64], out: Mapping[str, NDArray[Any]]) -> Columns:
    """Return the stored values at `positions`, one column per field of `reader`."""
    columns: Columns = {}
    for f in reader.fields:
        if f.is_scalar:
            columns[f.name] = reader._index[f.name][positions]
        elif not f.is_fixed:
            columns[f.name] = _read_packed(reader, f, positions, out.get(f.name))
        elif f.compression:
            columns[f.name] = _inflated(f, _read_packed(reader, f, positions), out.get(f.name))
        else:
            columns[f.name] = _read_fixed(reader, f, positions, out.get(f.name))
    return columns


def _read_fixed(reader: "Reader", f: Field, positions: NDArray[np.int64], out: NDArray[Any] | None) -> NDArray[Any]:
    if out is None:
        out = np.empty((len(positions), *(f.shape or ())), dtype=f.dtype)
    rows = memoryview(out.data).cast("B") if out.nbytes else memoryview(b"")
    size = f.nbytes
    views = [rows[i * size : (i + 1) * size] for i in range(len(positions))]
    lengths = reader._index[f"{f.name}_length"][positions]
    if (lengths != size).any():
        raise CorruptShardError(f"{reader.dataset_path}: the index gives field {f.name!r} another length than {size}")
    _fill(reader, f, positions, views)
    return out


def _read_packed(
    reader: "Reader", f: Field, positions: NDArray[np.int64], out: NDArray[Any] | None = None
) -> list[memoryview]:
    ends = np.cumsum(reader._index[f"{f.name}_length"][positions]).tolist()
    total = ends[-1] if ends else 0
    # np.empty takes fresh pages as they are; a bytearray would be zeroed first.
    buffer = memoryview((np.empty(total, np.uint8) if out is None or out.size < total else out).data)
    views = [buffer[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=False)]
    _fill(reader, f, positions, views)
    return views


def _inflated(f: Field, values: list[memoryview], out: NDArray[Any] | None) -> NDArray[Any]:
    if out is None:
        out = np.empty((len(values), *(f.shape or ())), dtype=f.dtype)
    for row, value in zip(out, values, strict=True):
        row[...] = np.frombuffer(decompress(f, value), f.dtype).reshape(f.shape or ())
    return out


def _fill(reader: "Reader", f: Field, positions: NDArray[np.int64], views: list[memoryview]) -> None:
    """Read one stored value into each view, and check it where the reader asks for that."""
    offsets = reader._index[f"{f.name}_offset"][positions]
    shards = np.searchsorted(reader._starts, positions, side="right") - 1
    order = np.lexsort((offsets, shards))
    lengths = reader._index[f"{f.name}_length"][positions]
    for shard, run in _runs(shards[order].tolist(), offsets[order].tolist(), lengths[order].tolist()):
        _read_run(reader, f, shard, [int(order[i]) for i in range(*run)], int(offsets[order[run[0]]]), views)
    if reader.check or (reader.check is None and not f.is_fixed):
        hashes = reader._index[f"{f.name}_xxh3"][positions].tolist()
        for row, view in enumerate(views):
            if xxhash.xxh3_64_intdigest(view) != hashes[row]:
                raise _damaged(reader, f, int(positions[row]), int(shards[row]))


def _runs(shards: list[int], offsets: list[int], lengths: list[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield (shard, (start, stop)) of values that lie end to end in one file."""
    start = 0
    for i in range(1, len(shards) + 1):
        if (
            i == len(shards)
            or shards[i] != shards[start]
            or offsets[i] != offsets[i - 1] + lengths[i - 1]
            or i - start == MAX_BUFFERS
        ):
            yield shards[start], (start, i)
            start = i


def _read_run(reader: "Reader", f: Field, shard: int, rows: list[int], offset: int, views: list[memoryview]) -> None:
    path, size = shard_file(reader, f, shard)
    for attempt in (1, 2):
        try:
            with reader._files.open(path, size) as fd:
                read_into(fd, [views[row] for row in rows], offset, path)
            return
        except StorageError:
            if attempt == 2:
                raise
            reader._files.drop(path)  # a handle may go stale when a server replaces the file


def shard_file(reader: "Reader", f: Field, shard: int) -> tuple[Path, int]:
    """Return the file that holds a field of a shard, and its size."""
    stored = reader.manifest.shards[shard].files[reader.manifest.field_files[f.name]]
    return reader.dataset_path / "data" / stored.name, stored.size


def _damaged(reader: "Reader", f: Field, position: int, shard: int) -> CorruptShardError:
    path, _ = shard_file(reader, f, shard)
    return CorruptShardError(
        f"{path}: field {f.name!r} of sample {position} is not what was written (its xxh3-64 differs); "
        f"restore the file from a copy or convert again; `shardwright verify {reader.dataset_path}` lists all damage"
    )
