"""Ranges: where the values of one field lie in one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError

__all__ = ["Ranges", "check_ranges", "ranges_outside"]


@dataclass(frozen=True, slots=True)
class Ranges:
    """Where the values of one field lie in one shard."""

    path: Path
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def fixed(cls, path: Path, start: int, count: int, nbytes: int) -> "Ranges":
        """Return `count` values of `nbytes` each, end to end from byte `start`, or raise `CorruptShardError`."""
        if start + count * nbytes > path.stat().st_size:
            raise CorruptShardError(f"{path}: {count} values of {nbytes} bytes from byte {start} are not in the file")
        if not nbytes:
            return cls(path, np.broadcast_to(np.int64(start), count), np.broadcast_to(np.int64(0), count))
        return cls(path, start + np.arange(count, dtype=np.int64) * nbytes, np.full(count, nbytes, dtype=np.int64))

    @classmethod
    def joined(cls, path: Path, parts: Sequence[NDArray[np.int64]]) -> "Ranges":
        """Return the ranges of all parts of a file, each offsets and lengths of shape (2, N)."""
        return cls(path, *np.concatenate([np.empty((2, 0), np.int64), *parts], axis=1))


def check_ranges(ranges: Ranges, size: int) -> None:
    """Raise `CorruptShardError` unless all ranges lie within `size` bytes."""
    bad = ranges_outside(ranges.offsets, ranges.lengths, size)
    if bad.size:
        row = bad[0]
        raise CorruptShardError(
            f"{ranges.path}: value {row} lies at byte {ranges.offsets[row]} with length {ranges.lengths[row]}, "
            f"the file has {size} bytes"
        )


def ranges_outside(offsets: NDArray[np.int64], lengths: NDArray[np.int64], size: Any) -> NDArray[np.intp]:
    """Return the numbers of the ranges that are not within `size` bytes."""
    # `size - offsets` cannot wrap, `offsets + lengths` of a forged index can.
    return np.flatnonzero((offsets < 0) | (lengths < 0) | (offsets > size) | (lengths > size - offsets))
