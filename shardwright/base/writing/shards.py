"""The loop that writes a rank's shards: load, write, check, commit."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError, InputError
from shardwright.base.fields import Field
from shardwright.base.formats import get_format
from shardwright.base.progress import Progress
from shardwright.base.source import Source
from shardwright.base.split.index import build_records, index_dtype
from shardwright.base.split.manifest import Shard
from shardwright.base.split.part import Part, finish_shard
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import storage_errors, sync_files, write_files
from shardwright.base.storage.files import mapped
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.columns import Batch, ByteColumn, check_columns
from shardwright.base.values.restore import decompress
from shardwright.base.writing.pipeline import Failure, Loaded, ShardBatches, load_batches
from shardwright.base.writing.plan import Plan
from shardwright.base.writing.processes import Counts, in_processes, process_count

__all__ = ["ShardWriter", "write_shards"]

WriteShard = Callable[[Path, Iterator[Batch], int, tuple[Field, ...]], None]


@dataclass(frozen=True, slots=True)
class ShardWriter:
    """What writing the shards of a plan takes; `write` is the format's."""

    paths: SplitPaths
    plan: Plan
    source: Source
    collate: Any
    write: WriteShard
    batch_size: int
    num_workers: int
    threads: bool
    max_skipped: int | None
    progress: bool | None

    def folder(self, shard: int) -> Path:
        """Return the hidden folder in which a shard is written."""
        return self.paths.work_folder(self.name(shard))

    def name(self, shard: int) -> str:
        """Return the name of a shard, without suffix."""
        return self.paths.shard_name(shard, self.plan.num_shards)

    def batches(self, shards: Sequence[int]) -> ShardBatches:
        """Return the batches of some shards."""
        # Small batches that stay in this process stay in its cache, and their memory is used again at once.
        batch_size = min(self.batch_size, 16) if self.threads else self.batch_size
        return ShardBatches(shards, self.plan.num_samples, self.plan.per_shard, batch_size)


@dataclass(slots=True)
class _ShardLog:
    """What went into a shard, to be compared with what is found in it."""

    fields: tuple[Field, ...]
    hashes: dict[str, list[int]] = field(default_factory=dict)
    scalars: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    modes: dict[str, Counter[str]] = field(default_factory=dict)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def add(self, batch: Batch) -> None:
        """Note the values of a batch."""
        self.count += len(batch)
        for f in self.fields:
            column = batch[f.name]
            if f.is_scalar:
                self.scalars.setdefault(f.name, []).append(np.asarray(column))
                continue
            packed = column if isinstance(column, ByteColumn) else None
            values = packed.values if packed else [np.ascontiguousarray(row).data for row in np.asarray(column)]
            self.hashes.setdefault(f.name, []).extend(xxhash.xxh3_64_intdigest(v) for v in values)
            if f.is_image:
                modes = [mode for _, mode in packed.tags] if packed else [f.mode or ""] * len(batch)
                self.modes.setdefault(f.name, Counter()).update(modes)

    def all_scalars(self) -> dict[str, NDArray[Any]]:
        """Return one array per scalar field."""
        empty: list[NDArray[Any]] = [np.empty(0)]
        return {f.name: np.concatenate(self.scalars.get(f.name, empty)) for f in self.fields if f.is_scalar}


def write_shards(writer: ShardWriter, rank: int, world: int) -> None:
    """Write those shards of rank `rank` that are not there yet."""
    plan = writer.plan
    dtype = index_dtype(plan.fields)
    todo = [k for k in range(rank, plan.num_shards, world) if not _is_done(writer.paths, plan, k, dtype)]
    batches = writer.batches(todo)
    total = sum(len(batches.samples(k)) for k in todo)
    with Progress(total, writer.progress) as bar:
        count = process_count(writer.num_workers, len(todo), total) if writer.threads else 1
        if count == 1:
            _write_each(writer, bar, todo)
            return
        each = writer.num_workers // count
        try:
            # A process of one worker reads by itself.
            in_processes(partial(_write_each, replace(writer, num_workers=each if each > 1 else 0)), todo, count, bar)
        except BaseException:
            for shard in todo:  # of a process that died
                shutil.rmtree(writer.folder(shard), ignore_errors=True)
            raise


def _write_each(writer: ShardWriter, bar: Progress | Counts, todo: Sequence[int]) -> None:
    """Write shards in this process.

    The last steps of a shard (hash, fsync, rename, index) run in two threads
    while the next one is written.
    """
    batches = writer.batches(todo)
    loaded = load_batches(writer.source, batches, writer.collate, writer.num_workers, writer.threads)
    pending: Future[None] | None = None
    # Closed, and not left to chance: a worker that died is told as long as its loader is alive.
    with closing(loaded), ThreadPoolExecutor(2) as pool:
        for shard in todo:
            try:
                commit = _write_shard(writer, shard, batches, loaded, bar)
                if pending is not None:
                    pending.result()
                synced = pool.submit(sync_files, writer.folder(shard))
            except BaseException:  # this shard, or the one before: neither will be made final
                shutil.rmtree(writer.folder(shard), ignore_errors=True)
                raise
            pending = pool.submit(commit, synced)
        if pending is not None:
            pending.result()


def _is_done(paths: SplitPaths, plan: Plan, shard: int, dtype: np.dtype[Any]) -> bool:
    found = Part.read(paths.part(shard), dtype)
    if found is None:
        return False
    part, name = found[0], paths.shard_name(shard, plan.num_shards)
    return all(file.name.startswith(name) for file in part.shard.files) and part.holds(paths.data)


def _write_shard(
    writer: ShardWriter, shard: int, batches: ShardBatches, loaded: Iterator[Loaded], bar: Progress | Counts
) -> Callable[[Future[None]], None]:
    """Write one shard in a hidden folder; return what makes it final, once its files are on their way to the disk."""
    plan, folder = writer.plan, writer.folder(shard)
    path = folder / f"{writer.name(shard)}{get_format(plan.format).suffix}"
    log = _ShardLog(plan.fields)
    with storage_errors(path):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        stream = _batches(writer, log, loaded, batches.batches(shard), bar)
        writer.write(path, stream, len(batches.samples(shard)), plan.fields)
        for _ in stream:
            raise CorruptShardError(f"{path}: the format wrote only a part of its batches")
    return partial(_commit_shard, writer, shard, path, log)


def _commit_shard(writer: ShardWriter, shard: int, path: Path, log: _ShardLog, synced: Future[None]) -> None:
    """Make a written shard final, or leave nothing of it."""
    try:
        with storage_errors(path):
            _check_and_publish(writer, shard, path, log, synced)
    except BaseException:
        wait([synced])
        shutil.rmtree(path.parent, ignore_errors=True)
        raise


def _batches(
    writer: ShardWriter, log: _ShardLog, loaded: Iterator[Loaded], count: int, bar: Progress | Counts
) -> Iterator[Batch]:
    """Yield the batches of one shard, noting what they hold."""
    for _ in range(count):
        item = next(loaded)
        for failure in item.failures:
            _skip(writer, log, failure, bar)
        log.warnings.update(item.warnings)
        batch = item.batch()
        check_columns(log.fields, batch.columns, len(batch))
        bar.add(len(batch) + len(item.failures), _nbytes(batch))
        if len(batch):
            log.add(batch)
            yield batch


def _nbytes(batch: Batch) -> int:
    return sum(column.nbytes for column in batch.columns.values())


def _skip(writer: ShardWriter, log: _ShardLog, failure: Failure, bar: Progress | Counts) -> None:
    name = writer.source.name(failure.index)
    if writer.plan.options["on_error"] != "skip":
        raise failure.error(name) from failure.cause
    log.skipped.append({"index": failure.index, "name": name, "reason": failure.reason, "sha256": failure.sha256})
    skipped = bar.skip()
    if writer.max_skipped is not None and skipped > writer.max_skipped:
        raise InputError(
            f"{name}: {failure.reason}; more than max_skipped={writer.max_skipped} samples were skipped by this rank"
        )


def _check_and_publish(writer: ShardWriter, shard: int, path: Path, log: _ShardLog, synced: Future[None]) -> None:
    """Index a written shard, check it against what went in, and make it final."""
    fields = log.fields
    stored = [f for f in fields if not f.is_scalar]
    record = get_format(writer.plan.format)
    located = record.load_reader()._locate(path, fields)
    records, hashes = build_records(fields, located, log.all_scalars(), log.count)
    for f in stored:
        _compare(path, f.name, log.hashes.get(f.name, []), _payload_hashes(f, located[f.name], records))
    names = sorted(p.name for p in path.parent.iterdir())
    field_files = {f.name: names.index(located[f.name].path.name) for f in stored}
    extras = record.load_converter()._shard_extras(path, fields)
    files = finish_shard(path.parent, writer.paths.data, synced.result, hashes)
    extra = write_files(writer.paths.metadata, extras)
    modes = {k: dict(sorted(v.items())) for k, v in log.modes.items()}
    part = Part(Shard(log.count, files), field_files, modes, log.skipped, extra, dict(log.warnings))
    part.write(writer.paths.part(shard), records)


def _payload_hashes(f: Field, ranges: Ranges, records: NDArray[Any]) -> list[int]:
    """Return the hashes of the values as they went in, before a format compressed them."""
    if not f.compression:
        return list(records[f"{f.name}_xxh3"].tolist())
    with mapped(ranges.path) as data:
        cuts = zip(ranges.offsets.tolist(), (ranges.offsets + ranges.lengths).tolist(), strict=True)
        return [xxhash.xxh3_64_intdigest(decompress(f, data[a:b])) for a, b in cuts]


def _compare(path: Path, name: str, wanted: list[int], found: list[int]) -> None:
    for row, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if a != b:
            raise CorruptShardError(
                f"{path.name}: field {name!r} of sample {row} of the shard reads back other bytes than were "
                "written; the format's _write_data_to_disk, _init_arrays or _locate is wrong"
            )
