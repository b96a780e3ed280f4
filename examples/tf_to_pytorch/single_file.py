"""One big ``.npy`` file, written chunk by chunk, whole or not at all.

Until it is complete the file has a hidden name, and beside it lie a plan (what
is being written) and a journal: the hash of every finished chunk. A run that
was killed goes on at the first chunk whose hash does not hold.
"""

import math
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright import ConfigError, OutputExistsError, PlanMismatchError, StorageError
from shardwright.base.storage.atomic import StoredFile, storage_errors, sync_file, sync_folder, write_bytes
from shardwright.base.storage.file_lock import held_lock
from shardwright.base.storage.npy import npy_header
from shardwright.base.storage.strict_json import canonical_json, parse_json
from shardwright.base.writing.plan import differences
from shardwright.memmap.file_array import FileArray

__all__ = ["SingleFile", "available_memory", "check_memory", "write_single_file"]

# Fills an array with the samples from a number on.
Fill = Callable[[int, NDArray[Any]], None]
_CACHE = ("active_file", "inactive_file")  # in a container's memory.stat
_CACHE_BYTES = 2**20  # what is read, hashed and written while it is in the processor's cache


@dataclass(frozen=True, slots=True)
class SingleFile:
    """What is to be written, and where.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        The first axis counts samples.
    dtype : str
        NumPy dtype, little-endian.
    chunk_size : int
        Samples per chunk.
    origin : dict
        JSON values that change whenever the input does.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    chunk_size: int
    origin: dict[str, Any]

    def beside(self, suffix: str) -> Path:
        """Return the path of a hidden companion."""
        return self.path.with_name(f".{self.path.name}.{suffix}")

    def plan(self) -> dict[str, Any]:
        """Return what is being written, as JSON values."""
        return {"shape": list(self.shape), "dtype": self.dtype, "chunk_size": self.chunk_size, "origin": self.origin}

    @property
    def header(self) -> bytes:
        """The first bytes of the file."""
        return npy_header(self.dtype, self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the finished file."""
        return len(self.header) + math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def forget(self) -> None:
        """Delete plan and journal, once whatever points at the file is written too."""
        for suffix in ("journal", "plan"):
            self.beside(suffix).unlink(missing_ok=True)


def write_single_file(
    target: SingleFile,
    fill: Fill,
    *,
    step: int = 1,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> StoredFile:
    """Write an .npy file, or go on with one that was begun.

    Plan and journal stay until `SingleFile.forget`, so a run that is killed
    right after the file got its name finds it finished.

    Parameters
    ----------
    target : SingleFile
    fill : callable
        Gets the number of the first sample, and an array (n, ...) to be filled.
    step : int
        Fewest samples to ask for at once, where fewer would be slow to read.
    overwrite : bool
        Replace a file that is there, at the moment the new one is complete.
    progress : callable, optional
        Gets the number of samples done with every chunk.

    Returns
    -------
    StoredFile
        Name, size and xxh3-64.

    Raises
    ------
    OutputExistsError
        If the file is there already.
    PlanMismatchError
        If it was begun with another input or other options.
    LockedError
        If another process is writing it.
    StorageError
        If the disk fails or is full.
    """
    with storage_errors(target.path), held_lock(target.beside("lock")):
        begun = _begun(target)
        if target.path.exists() and not overwrite and not begun:
            raise OutputExistsError(f"{target.path} is there already: pass overwrite, or choose another name")
        part = target.beside("part")
        if begun and target.path.exists() and not part.exists() and not overwrite:
            part = target.path  # all that is left is to say so
        if not begun:
            part.unlink(missing_ok=True)
            target.forget()
            _check_space(target)
            write_bytes(target.beside("plan"), canonical_json(target.plan()).encode())
        if not part.exists():
            part.write_bytes(target.header)
        stored = _write_chunks(target, part, fill, step, progress or (lambda _: None))
        part.replace(target.path)
        sync_folder(target.path.parent)
    return stored


def _begun(target: SingleFile) -> bool:
    """Whether this very file was begun before."""
    path = target.beside("plan")
    try:
        found = parse_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        return False
    except ValueError as error:
        raise PlanMismatchError(f"{path} is damaged ({error}); delete it to begin anew") from error
    lines = differences(target.plan(), found if isinstance(found, dict) else {})
    if lines:
        raise PlanMismatchError(
            f"{target.path} was begun with another plan: {'; '.join(lines)}. "
            f"Go on with the old input and options, or delete {path} to begin anew"
        )
    return True


def _check_space(target: SingleFile) -> None:
    free = shutil.disk_usage(target.path.parent).free
    if free < target.nbytes:
        raise StorageError(f"{target.path} takes {target.nbytes:,} bytes, {free:,} are free: make room, run it again")


def _write_chunks(target: SingleFile, part: Path, fill: Fill, step: int, progress: Callable[[int], None]) -> StoredFile:
    """Write all chunks that the journal does not vouch for."""
    digest = xxhash.xxh3_64(target.header)
    with (
        closing(FileArray(part, target.dtype, target.shape, len(target.header))) as array,
        target.beside("journal").open("a+") as journal,
    ):
        done = _kept(target, array, journal, digest, progress)
        chunk = np.empty((target.chunk_size, *target.shape[1:]), target.dtype)
        step = max(step, _CACHE_BYTES // max(1, chunk[:1].nbytes))
        for start in range(done, target.shape[0], target.chunk_size):
            rows, own = chunk[: target.shape[0] - start], xxhash.xxh3_64()
            for first in range(0, len(rows), step):
                block = rows[first : first + step]
                fill(start + first, block)
                array[start + first : start + first + len(block)] = block
                digest.update(block.data)
                own.update(block.data)
            journal.write(f"{own.hexdigest()}\n")
            journal.flush()
            progress(len(rows))
    sync_file(part)
    return StoredFile(target.path.name, part.stat().st_size, digest.hexdigest())


def _kept(target: SingleFile, array: FileArray, journal: IO[str], digest: Any, progress: Callable[[int], None]) -> int:
    """Return how many samples are on disk with the right hashes, and cut the journal after them."""
    journal.seek(0)
    done, end = 0, 0
    for line in journal.read(target.shape[0] * 17).splitlines():
        stop = min(done + target.chunk_size, target.shape[0])
        # The values themselves are hashed: after a power cut the journal may be ahead of the data.
        values = array[done:stop]
        if done >= target.shape[0] or xxhash.xxh3_64_hexdigest(values.data) != line:
            break
        digest.update(values.data)
        progress(stop - done)
        done, end = stop, end + len(line) + 1
    journal.truncate(end)
    return done


def available_memory() -> int | None:
    """Return how many bytes this process may still take; ``None`` where the system does not say."""
    known = [limit for limit in (_meminfo(), _cgroup(), _address_space()) if limit is not None]
    return max(0, min(known)) if known else None


def _words(path: str | Path) -> list[list[str]]:
    """Return the words of each line of a file of the system; none if it is not there."""
    try:
        return [line.split() for line in Path(path).read_text().splitlines()]
    except OSError:
        return []


def _meminfo() -> int | None:
    lines = _words("/proc/meminfo")
    return next((int(number) * 1024 for name, number, *_ in lines if name == "MemAvailable:"), None)


def _cgroup() -> int | None:
    """Return what the container may still take."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, now = _words(limit), _words(used)
        if most and now and most != [["max"]]:
            # The page cache counts as used, but the system gives it back when it is needed.
            cache = [int(number) for name, number in _words(Path(limit).with_name("memory.stat")) if name in _CACHE]
            return int(most[0][0]) - int(now[0][0]) + sum(cache)
    return None


def _address_space() -> int | None:
    """Return what `ulimit -v` leaves."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    limit, used = resource.getrlimit(resource.RLIMIT_AS)[0], _words("/proc/self/statm")
    if limit == resource.RLIM_INFINITY or not used:
        return None
    return limit - int(used[0][0]) * resource.getpagesize()


def check_memory(chunk_size: int, sample_bytes: int, copies: int, free: int | None = None) -> None:
    """Raise `ConfigError`, with the numbers, if a chunk would not fit into memory.

    Parameters
    ----------
    chunk_size : int
        Samples per chunk.
    sample_bytes : int
        Bytes of one sample.
    copies : int
        How many times a chunk is in memory at once.
    free : int, optional
        Bytes that may be taken; found out by default.
    """
    free = available_memory() if free is None else free
    need = chunk_size * sample_bytes * copies
    if free is None or need <= free:
        return
    fitting = free // (2 * sample_bytes * copies)  # half of what is free, to leave some to others
    mend = f"pass --chunk-size {fitting}" if fitting else "make memory free"
    raise ConfigError(
        f"a chunk of {chunk_size} samples takes {need:,} bytes ({copies} x {chunk_size} x {sample_bytes:,}), "
        f"{free:,} are free: {mend}"
    )
