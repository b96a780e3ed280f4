"""Values of columns that do not lie in a file as they are: decoded some rows at a time.

Whoever reads forward decodes every row once. What was decoded last is kept, so that
several threads, or a shuffled order within some hundred samples, find it again.
"""

import os
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.file_source import FilesSource
from shardwright.base.source import Places
from shardwright.base.workers import ForkLock
from shardwright.pyarrow_ipc.arrow_features import decoded_value

__all__ = ["ColumnsSource", "Decoded", "Layout"]

KEPT = 2**27  # bytes of decoded rows that a process keeps, if they are not one piece

Rows = Mapping[str, Any]  # the values (pyarrow.Array) of every column that is decoded, by the name of its field


class Layout(Protocol):
    """How the rows of one file can be decoded. Pickled with the source: no open files."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """The rows at which decoding may begin, and the number of all rows."""

    def decoded(self, number: int) -> Iterator[Rows]:
        """Yield the rows from ``starts[number]`` on, some at a time, to the end of the file."""


@dataclass(frozen=True, slots=True)
class _Piece:
    path: Path
    start: int
    rows: Rows

    @property
    def stop(self) -> int:
        return self.start + len(next(iter(self.rows.values())))

    @property
    def nbytes(self) -> int:
        return sum(values.get_total_buffer_size() for values in self.rows.values())


class Decoded:
    """The rows that this process decoded last. Safe in threads and forked children; pickling gives an empty one."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._forget()

    def __reduce__(self) -> tuple[type["Decoded"], tuple[()]]:
        return Decoded, ()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._pieces: deque[_Piece] = deque()
        self._ahead: Iterator[Rows] = iter(())
        self._next: tuple[Path, int] | None = None  # what `_ahead` gives

    def at(self, path: Path, layout: Layout, row: int) -> tuple[Rows, int]:
        """Return decoded rows of a file, and which of them is row number `row` of the file."""
        with self._lock:
            if self._pid != os.getpid():
                self._forget()
            kept = (piece for piece in self._pieces if piece.path == path and piece.start <= row < piece.stop)
            piece = next(kept, None) or self._decode(path, layout, row)
            return piece.rows, row - piece.start

    def _decode(self, path: Path, layout: Layout, row: int) -> _Piece:
        number = int(np.searchsorted(layout.starts, row, side="right")) - 1
        start = int(layout.starts[number])
        if self._next is not None and self._next[0] == path and start <= self._next[1] <= row:
            start = self._next[1]
        else:
            self._ahead = layout.decoded(number)
        self._next = None  # as long as it is not known
        for rows in self._ahead:
            piece = _Piece(path, start, rows)
            self._keep(piece)
            start = piece.stop
            if row < start:
                self._next = path, start
                return piece
        raise InputError(f"{path} ends before row {row}; copy or make it again")

    def _keep(self, piece: _Piece) -> None:
        self._pieces.append(piece)
        while len(self._pieces) > 1 and sum(kept.nbytes for kept in self._pieces) > KEPT:
            self._pieces.popleft()


class ColumnsSource(FilesSource):
    """The samples of files of columns.

    Parameters
    ----------
    paths : path or sequence of paths
    """

    def __init__(self, paths: Any) -> None:
        self._layouts: dict[Path, Layout] = {}
        self._decoded = Decoded()
        super().__init__(paths)

    def _look(self, path: Path) -> Places:
        found, self._layouts[path] = self._columns(path)
        return found

    @abstractmethod
    def _columns(self, path: Path) -> tuple[Places, Layout]:
        """Return what lies in a file, and how its rows are decoded."""

    def _read(self, part: Places, field: Field, row: int) -> Any:
        path = part.files[0]
        try:
            rows, number = self._decoded.at(path, self._layouts[path], row)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: {error}: the file is damaged; copy or make it again") from error
        return decoded_value(field, rows[field.name], number)
