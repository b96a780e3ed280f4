"""An array on disk that is written with `write`, never through a memory map.

On a full disk a mapped page ends the process with SIGBUS; `write` and
`posix_fallocate` raise an error instead.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.storage.atomic import WriteFile

__all__ = ["FileArray"]


class FileArray:
    """An array of fixed dtype and shape that lies in a file from byte `offset`.

    Slices of the first axis are written and read; only ``array[a:b]`` is offered.

    Parameters
    ----------
    path : Path
        An existing file, extended (and its space reserved) as needed.
    dtype : str
    shape : sequence of int
    offset : int
        Bytes before the first value.
    """

    def __init__(self, path: Path, dtype: str, shape: Sequence[int], offset: int) -> None:
        self.dtype, self.shape, self.offset = np.dtype(dtype), tuple(shape), offset
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._file = WriteFile(path, "rb+")
        _reserve(self._file, offset + self.shape[0] * self._row)

    def __setitem__(self, rows: slice, values: NDArray[Any]) -> None:
        block = np.ascontiguousarray(np.broadcast_to(values, self._go_to(rows)), dtype=self.dtype)
        self._file.write(block.reshape(-1).view(np.uint8))

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        shape = self._go_to(rows)
        return np.fromfile(self._file, self.dtype, math.prod(shape)).reshape(shape)

    def _go_to(self, rows: slice) -> tuple[int, ...]:
        """Move to the first of these rows, and return the shape of what lies there."""
        start, stop, _ = rows.indices(self.shape[0])
        self._file.seek(self.offset + start * self._row)
        return stop - start, *self.shape[1:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _reserve(file: WriteFile, size: int) -> None:
    """Make the file `size` bytes long, with blocks behind them where the system can."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
