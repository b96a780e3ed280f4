"""Cut a stream of batches into groups by bytes, in the same places for any batch size."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from shardwright.base.values.columns import Batch, ByteColumn, Column

__all__ = ["Groups", "join"]


class Groups:
    """Gathers samples until a group is full.

    A group ends before the sample that would take it over `max_bytes` or
    `max_rows`; a larger sample is a group of its own.

    Parameters
    ----------
    max_bytes : int
        Of the values of one group.
    max_rows : int
        Samples of one group.
    """

    def __init__(self, max_bytes: int = 16 * 2**20, max_rows: int = 4096) -> None:
        self.max_bytes, self.max_rows = max_bytes, max_rows
        self._pieces: list[Batch] = []
        self._bytes = self._rows = 0

    def add(self, batch: Batch) -> Iterator[Batch]:
        """Take a batch; yield the groups that it fills."""
        start = 0
        for row, size in enumerate(_sizes(batch)):
            if self._rows and (self._bytes + size > self.max_bytes or self._rows == self.max_rows):
                self._pieces.append(batch.slice(start, row))
                yield from self.rest()
                start = row
            self._rows += 1
            self._bytes += size
        self._pieces.append(batch.slice(start, len(batch)))

    def rest(self) -> Iterator[Batch]:
        """Yield what was gathered and not yet yielded, if anything."""
        pieces, self._pieces = [p for p in self._pieces if len(p)], []
        self._bytes = self._rows = 0
        if pieces:
            yield join(pieces)


def _sizes(batch: Batch) -> list[int]:
    """Return the bytes of each sample."""
    total = np.zeros(len(batch), np.int64)
    for column in batch.columns.values():
        total += column.lengths if isinstance(column, ByteColumn) else column[:1].nbytes
    return list(total.tolist())


def join(pieces: list[Batch]) -> Batch:
    """Return the samples of several batches as one."""
    if len(pieces) == 1:
        return pieces[0]
    indices = np.concatenate([p.indices for p in pieces])
    names = pieces[0].columns
    return Batch(indices, {name: _join_columns([p[name] for p in pieces]) for name in names})


def _join_columns(columns: list[Column]) -> Column:
    lists = [c for c in columns if isinstance(c, ByteColumn)]
    if not lists:
        return np.concatenate([np.asarray(c) for c in columns])
    parts = zip(*((c.values, c.tags, c.warnings) for c in lists), strict=True)
    return ByteColumn(*(list(chain.from_iterable(part)) for part in parts))
