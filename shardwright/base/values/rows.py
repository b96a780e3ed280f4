"""Arrays that are read row by row: on disk in several file formats, or in memory."""

import math
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.storage.inflate import Bytes, FileBytes, file_bytes

__all__ = ["BLOCK_BYTES", "MemoryRows", "PackedRows", "Rows", "check_images", "check_numbers", "rows_of_array"]

BLOCK_BYTES = 2**24  # what is read at once where single rows would be slow


def check_numbers(dtype: np.dtype[Any], name: str) -> None:
    """Raise `InputError` unless values of this dtype are plain numbers or strings."""
    if dtype.hasobject:
        raise InputError(
            f"{name} holds Python objects (dtype {dtype}), which are never unpickled: "
            "save it again with a number or string dtype, for example array.astype('uint8') or array.astype(str)"
        )
    if dtype.kind not in "biufcSU":
        raise InputError(f"{name} has dtype {dtype}: give an array of plain numbers")


class Rows(ABC):
    """An array of which a few rows (of the first axis) are read at a time.

    Parameters
    ----------
    name : str
        What messages call it.
    shape : tuple of int
    dtype : numpy.dtype
        As stored; `read` gives it in this machine's byte order.
    """

    block = 1  # rows that are best read together
    elsewhere = "in memory"  # why they do not lie in a file as they are; empty if they do

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        check_numbers(dtype, name)
        self.name, self.shape = name, shape
        self.stored_dtype, self.dtype = dtype, dtype.newbyteorder("=")
        self._cache: tuple[int, NDArray[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows `start` to `stop` in C order and native byte order.

        Parameters
        ----------
        start, stop : int
            0 <= start <= stop <= len.
        out : ndarray, optional
            C-contiguous, of that shape and native dtype, to be filled.
        """
        if out is None:
            out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if out.size:
            self._read_into(start, out)
        return out

    def row(self, index: int) -> NDArray[Any]:
        """Return one row; where single rows would be slow, it is read with its neighbours."""
        row: NDArray[Any]
        if self.block == 1:
            row = self.read(index, index + 1)[0]
            return row
        start, found = index - index % self.block, self._cache
        if found is None or found[0] != start:
            found = self._cache = start, self.read(start, min(start + self.block, len(self)))
        row = found[1][index - start]
        return row.copy()

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows, some at a time, each with the number of its first."""
        step = max(self.block, _many(self.row_bytes))
        for start in range(0, len(self), step):
            yield start, self.read(start, min(start + step, len(self)))

    @property
    def place(self) -> tuple[Path, int]:
        """The file in which the rows lie end to end, and where they begin; only if they are not `elsewhere`."""
        raise NotImplementedError(self.elsewhere)

    @abstractmethod
    def _read_into(self, start: int, out: NDArray[Any]) -> None:
        """Fill `out` with the rows from `start` on."""

    @abstractmethod
    def state(self) -> str:
        """Return a text that changes whenever the content does."""


def check_images(rows: Rows) -> None:
    """Raise `InputError` if an array can be nothing but labels."""
    if rows.dtype.kind in "SU":
        raise InputError(f"{rows.name} holds strings, not images: pass it as labels=")
    if len(rows.shape) == 1:
        raise InputError(f"{rows.name} has shape {rows.shape}: one number per sample is a label, not an image")


def _many(row_bytes: int) -> int:
    return max(1, BLOCK_BYTES // max(1, row_bytes))


class PackedRows(Rows):
    """Values end to end in a file or a deflated stream, in C or Fortran order.

    Parameters
    ----------
    name, shape, dtype
        As `Rows`.
    source : FileBytes or InflatedBytes
    offset : int
        Where in `source` the first value lies.
    fortran : bool
        Whether the first axis runs fastest.
    """

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], source: Bytes, offset: int, fortran: bool = False
    ) -> None:
        super().__init__(name, shape, dtype)
        self._source, self._offset = source, offset
        self._fortran = fortran and len(shape) > 1
        if self._fortran:
            self.block = _many(self.row_bytes)
        self.elsewhere = self._why_elsewhere()

    def _why_elsewhere(self) -> str:
        if not isinstance(self._source, FileBytes):
            return "compressed"
        if self._fortran:
            return "in Fortran order, so no value lies in one piece"
        return "" if self.stored_dtype == self.dtype else "in the byte order of other machines"

    @property
    def place(self) -> tuple[Path, int]:
        """The file, and where the first row begins."""
        if not isinstance(self._source, FileBytes) or self.elsewhere:
            return super().place
        return Path(self._source.path), self._source.offset + self._offset

    def _read_into(self, start: int, out: NDArray[Any]) -> None:
        if self._fortran:
            self._read_fortran(start, out)
        else:
            with self._source.opened() as read:
                self._fill(read, out, self._offset + start * self.row_bytes)
        if self.stored_dtype != self.dtype:
            out.byteswap(inplace=True)

    def _read_fortran(self, start: int, out: NDArray[Any]) -> None:
        """Fetch the run of every position in a row, then turn the runs around."""
        tail, size = self.shape[1:], self.dtype.itemsize
        runs = np.empty((math.prod(tail), len(out)), self.dtype)
        with self._source.opened() as read:
            if len(out) == len(self):
                self._fill(read, runs, self._offset)
            else:
                for number, run in enumerate(runs):
                    self._fill(read, run, self._offset + (number * len(self) + start) * size)
        out[...] = runs.reshape(*reversed(tail), len(out)).transpose()

    def _fill(self, read: Any, out: NDArray[Any], offset: int) -> None:
        view = memoryview(out.reshape(-1).view(np.uint8).data)
        found = read(view, offset)
        if found != len(view):
            raise InputError(f"{self.name} ends at byte {offset + found}, within its values: make or copy it again")

    def state(self) -> str:
        """Return size and modification time of the file."""
        return f"{self.name} {self._source.identity}"


class MemoryRows(Rows):
    """An array in memory."""

    def __init__(self, array: NDArray[Any], name: str) -> None:
        super().__init__(name, array.shape, array.dtype)
        self._array = array

    def _read_into(self, start: int, out: NDArray[Any]) -> None:
        out[...] = self._array[start : start + len(out)]

    def state(self) -> str:
        """Return an xxh3-128 of the values."""
        digest = xxhash.xxh3_128()
        for _, block in self.blocks():
            digest.update(block.tobytes())
        return digest.hexdigest()


def rows_of_array(array: NDArray[Any], name: str = "the array") -> Rows:
    """Return the rows of an array in memory, or of the file that it maps.

    A mapped file is read, not pickled page by page into worker processes, and
    cannot end them with SIGBUS when it is cut.
    """
    if array.ndim == 0:
        raise InputError(f"{name} has no axes: its first axis counts the samples")
    place = _mapped_place(array)
    if place is None:
        return MemoryRows(np.asarray(array), name)
    file, offset = place
    source = file.part(offset, array.nbytes)
    return PackedRows(f"{name} in {file.shown}", array.shape, array.dtype, source, 0)


def _mapped_place(array: NDArray[Any]) -> tuple[FileBytes, int] | None:
    """Return the file that an array in C order maps, and where in it the array lies."""
    pages = getattr(array, "_mmap", None)
    if not isinstance(array, np.memmap) or not isinstance(pages, mmap.mmap) or array.filename is None:
        return None
    # Pages of mode "c" may hold values that are not in the file.
    if array.mode not in ("r", "r+") or not array.flags.c_contiguous:
        return None
    start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    base = np.frombuffer(pages, np.uint8).__array_interface__["data"][0]
    offset = start + array.__array_interface__["data"][0] - base
    file = file_bytes(os.fspath(array.filename))
    return (file, offset) if offset >= 0 and offset + array.nbytes <= file.size else None
