"""Split: a published split, opened: its manifest, its index and its files.

What it reads are stored bytes and the numbers of the index. Many samples are
read at once: sorted by place, adjacent ranges in one call, straight into one buffer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.arguments import check_choice, check_whole
from shardwright.base.errors import ConfigError, CorruptShardError, ShardwrightError, StorageError
from shardwright.base.fields import Field
from shardwright.base.split.classes import class_names, label_field, no_targets
from shardwright.base.split.index import map_index, open_index
from shardwright.base.split.manifest import Manifest, load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import check_file, check_size
from shardwright.base.storage.files import MAX_BUFFERS, FileCache, MappedFiles, Run, aligned_empty, read_runs
from shardwright.base.values.restore import decompress

__all__ = ["Columns", "Split", "Unchanged", "check_split_files"]

# Field name to an array, or to one view per sample over one buffer.
Columns = dict[str, Any]


def check_split_files(paths: SplitPaths, manifest: Manifest) -> None:
    """Raise unless the index holds and all shards have their sizes."""
    check_file(paths.index, manifest.index)
    for shard in manifest.shards:
        for file in shard.files:
            check_size(paths.data / file.name, file)


class Unchanged:
    """The manifest of a split, and, when called, whether the one on disk still says the same.

    A split is replaced in this order: the old manifest goes, then the shards, and the new manifest
    comes last. So a shard is of the old split if the old manifest is there after the shard was opened.
    An object of its own: open files hold it, and a circle with their owner would keep them open.
    """

    def __init__(self, paths: SplitPaths) -> None:
        self._paths, self._seen = paths, self._state(paths)  # before it is read: what comes between is seen later
        self.manifest: Manifest = load_manifest(paths)

    def __call__(self) -> None:
        """Compare inode, size and time of the manifest, and its content only where these differ."""
        state = self._state(self._paths)
        if state == self._seen:
            return
        if not state or not self._says_the_same():
            raise CorruptShardError(
                f"{self._paths.manifest}: split {self._paths.split!r} was replaced or removed after this reader was "
                "opened; open the reader again"
            )
        self._seen = state

    def _says_the_same(self) -> bool:
        try:
            return load_manifest(self._paths) == self.manifest
        except (ShardwrightError, OSError):
            return False

    @staticmethod
    def _state(paths: SplitPaths) -> tuple[int, ...]:
        try:
            status = paths.manifest.stat()
        except OSError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The samples of one call: their places in the split, index records and shards."""

    positions: NDArray[np.int64]
    records: NDArray[Any]
    shards: NDArray[np.int64]

    def column(self, name: str) -> NDArray[Any]:
        return np.ascontiguousarray(self.records[name])


class Split:
    """A published split: manifest, index and open files; safe in threads, in forked children, and pickled.

    Parameters
    ----------
    dataset_path : path
    name : str
    data_path : path, optional
        The folder of the shard files, where they do not lie in the dataset's own.
    accepts : callable, optional
        Gets paths and manifest before anything else is opened; what it raises is told.
    check : bool, optional
        Compare each value with its hash; by default all but raw values of fixed size.
    max_open_files : int
    mmap : bool
        Copy raw values of fixed size out of mapped files.

    Attributes
    ----------
    paths : SplitPaths
    manifest : Manifest
    records : structured array
        The index.
    """

    def __init__(
        self,
        dataset_path: str | Path,
        name: str,
        *,
        data_path: str | Path | None = None,
        accepts: Callable[[SplitPaths, Manifest], None] | None = None,
        check: bool | None = None,
        max_open_files: int = 64,
        mmap: bool = False,
    ) -> None:
        paths = SplitPaths(Path(dataset_path).expanduser().absolute(), name)
        unchanged = Unchanged(paths)
        self.manifest = unchanged.manifest
        if accepts is not None:
            accepts(paths, self.manifest)
        self.paths, self.check = paths.holding(self.manifest.data_dir, data_path), check
        check_split_files(self.paths, self.manifest)
        self.records = open_index(self.paths.index, self.manifest)
        self._files = FileCache(check_whole("max_open_files", max_open_files, 1), unchanged)
        self._maps = MappedFiles(self._files) if mmap else None
        self._starts = np.cumsum([0] + [shard.num_samples for shard in self.manifest.shards])
        self._found: dict[tuple[str, int], tuple[Path, int]] = {}

    def __len__(self) -> int:
        return self.manifest.num_samples

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "records"} | {"_found": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.records = map_index(self.paths.index, self.manifest)

    def close(self) -> None:
        """Close the open files; a later read opens them again."""
        self._files.close()

    def chosen(self, columns: Sequence[str] | None) -> tuple[Field, ...]:
        """Return the fields that `columns` names, in that order; ``None``: all."""
        known = {f.name: f for f in self.manifest.fields}
        if isinstance(columns, str):
            raise ConfigError(f"columns={columns!r} must be a list of names: columns=[{columns!r}]")
        for name in columns or ():
            check_choice("columns", name, tuple(known))
        return tuple(known[name] for name in (known if columns is None else columns))

    def scalars(self, name: str) -> NDArray[Any]:
        """Return a scalar field of all samples, shape (N,), out of the index."""
        check_choice("name", name, [f.name for f in self.manifest.fields if f.is_scalar])
        return np.asarray(self.records[name])

    @property
    def label(self) -> Field | None:
        """The field of the labels, if there are any."""
        return label_field(self.manifest.fields)

    @property
    def classes(self) -> list[str]:
        """The names of the labels' numbers or else of a mask's ids; empty if there are none."""
        return class_names(self.manifest.fields)

    @property
    def targets(self) -> NDArray[Any]:
        """The labels of all samples, out of the index."""
        if self.label is None or not self.label.is_scalar:
            raise no_targets(self.manifest.fields, f"{self.paths.root} (split {self.paths.split!r})")
        return np.asarray(self.records[self.label.name])

    def shard_file(self, field: str, shard: int) -> tuple[Path, int]:
        """Return the file that holds a field of a shard, and its size."""
        found = self._found.get((field, shard))
        if found is None:
            stored = self.manifest.shards[shard].files[self.manifest.field_files[field]]
            found = self._found[field, shard] = self.paths.data / stored.name, stored.size
        return found

    def read_columns(
        self, fields: Sequence[Field], positions: NDArray[np.int64], out: Mapping[str, NDArray[Any]]
    ) -> Columns:
        """Return the stored values at `positions`, one column per field; see `Reader.read_columns`."""
        # All fields of a record at once, and not through np.memmap's slower indexing.
        records = self.records.view(np.ndarray)[positions]
        wanted = _Wanted(positions, records, np.searchsorted(self._starts, positions, side="right") - 1)
        columns: Columns = {}
        for f in fields:
            if f.is_scalar:
                columns[f.name] = wanted.column(f.name)
            elif not f.is_fixed:
                columns[f.name] = self._read_packed(wanted, f, out.get(f.name))
            elif f.compression:
                columns[f.name] = _inflated(f, self._read_packed(wanted, f), out.get(f.name))
            else:
                columns[f.name] = self._read_fixed(wanted, f, out.get(f.name))
        return columns

    def _read_fixed(self, wanted: _Wanted, f: Field, out: NDArray[Any] | None) -> NDArray[Any]:
        if out is None:
            out = aligned_empty((len(wanted.positions), *(f.shape or ())), f.dtype)
        else:
            _check_fits(f, out, len(wanted.positions))
        size = f.nbytes
        if (wanted.records[f"{f.name}_length"] != size).any():
            raise CorruptShardError(f"{self.paths.root}: the index gives field {f.name!r} another length than {size}")
        if self._maps is not None and out.nbytes:
            self._copy(wanted, f, self._maps, out)
            if not self.check:
                return out
        rows = memoryview(out.data).cast("B") if out.nbytes else memoryview(bytearray())
        views = [rows[i * size : (i + 1) * size] for i in range(len(wanted.positions))]
        if self._maps is None:
            self._read(wanted, f, views)
        self._compare(wanted, f, views)
        return out

    def _read_packed(self, wanted: _Wanted, f: Field, out: NDArray[Any] | None = None) -> list[memoryview]:
        ends = [0, *np.cumsum(wanted.records[f"{f.name}_length"]).tolist()]
        # np.empty takes fresh pages as they are; a bytearray would be zeroed first.
        buffer = memoryview((np.empty(ends[-1], np.uint8) if out is None or out.size < ends[-1] else out).data)
        views = [buffer[a:b] for a, b in pairwise(ends)]
        self._read(wanted, f, views)
        self._compare(wanted, f, views)
        return views

    def _read(self, wanted: _Wanted, f: Field, views: list[memoryview]) -> None:
        """Read one stored value into each view."""
        if views:
            for shard, runs in _by_shard(wanted, f, views):
                self._read_runs(*self.shard_file(f.name, shard), runs)

    def _read_runs(self, path: Path, size: int, runs: list[Run]) -> None:
        for attempt in (1, 2):
            try:
                with self._files.open(path, size) as fd:
                    read_runs(fd, runs, path)
                return
            except StorageError:
                if attempt == 2:
                    raise
                self._files.drop(path)  # a handle may go stale when a server replaces the file

    def _copy(self, wanted: _Wanted, f: Field, maps: MappedFiles, out: NDArray[Any]) -> None:
        """Copy all values out of mapped files; NumPy lets go of Python's lock meanwhile."""
        size, shards = f.nbytes, wanted.shards.tolist()
        files = {shard: maps.get(*self.shard_file(f.name, shard)) for shard in set(shards)}
        rows = out.reshape(-1).view(np.uint8).reshape(-1, size)
        for row, shard, start in zip(rows, shards, wanted.column(f"{f.name}_offset").tolist(), strict=True):
            row[:] = files[shard][start : start + size]

    def _compare(self, wanted: _Wanted, f: Field, views: list[memoryview]) -> None:
        """Compare values with their hashes, where that is asked for."""
        if self.check or (self.check is None and not f.is_fixed):
            hashes = wanted.column(f"{f.name}_xxh3").tolist()
            for row, view in enumerate(views):
                if xxhash.xxh3_64_intdigest(view) != hashes[row]:
                    raise self._damaged(f, int(wanted.positions[row]), int(wanted.shards[row]))

    def _damaged(self, f: Field, position: int, shard: int) -> CorruptShardError:
        path, _ = self.shard_file(f.name, shard)
        return CorruptShardError(
            f"{path}: field {f.name!r} of sample {position} is not what was written (its xxh3-64 differs); restore "
            f"the file from a copy or convert again; `shardwright verify {self.paths.root}` lists all damage"
        )


def _check_fits(f: Field, out: NDArray[Any], count: int) -> None:
    """Raise `ConfigError` unless the values of `count` samples fill an array: their bytes go into it as they are."""
    shape = (count, *(f.shape or ()))
    if out.shape != shape or out.dtype != f.dtype or not out.flags.c_contiguous:
        raise ConfigError(
            f"out[{f.name!r}] is of shape {out.shape} and type {out.dtype}"
            f"{'' if out.flags.c_contiguous else ' and not contiguous'}; "
            f"give a contiguous array of shape {shape} and type {np.dtype(f.dtype)}"
        )


def _inflated(f: Field, values: list[memoryview], out: NDArray[Any] | None) -> NDArray[Any]:
    if out is None:
        out = np.empty((len(values), *(f.shape or ())), dtype=f.dtype)
    else:
        _check_fits(f, out, len(values))
    for row, value in zip(out, values, strict=True):
        row[...] = np.frombuffer(decompress(f, value), f.dtype).reshape(f.shape or ())
    return out


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
