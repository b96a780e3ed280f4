"""Samples in Parquet files that other programs wrote, such as Hugging Face's `datasets`.

Values lie where they can be read if their column is neither compressed nor encoded,
which is how images are often stored. Others are decoded, some rows at a time.
Numbers are copied, however they are stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError, InputError, LimitError
from shardwright.base.source import Places
from shardwright.base.storage.files import mapped
from shardwright.parquet import pages
from shardwright.parquet.pages import NotPlainError, Pages, check_footer, check_pages, chunk_ranges
from shardwright.parquet.reader import opened
from shardwright.pyarrow_ipc.arrow_features import (
    ArrowColumn,
    Seen,
    columns_of,
    find_columns,
    first_of,
    values_of,
)
from shardwright.pyarrow_ipc.arrow_rows import ColumnsSource, Layout, Rows

__all__ = ["ParquetSource"]

_PIECE = 2**26  # bytes that are decoded at a time, about
_MOST_VALUES = 2**26  # numbers of a file that may be more than it has bytes


class ParquetSource(ColumnsSource):
    """The samples of Parquet files.

    Parameters
    ----------
    paths : path or sequence of paths

    Raises
    ------
    InputError
        If one is damaged, or holds nothing but numbers.
    LimitError
        If one is compressed, and much larger than it seems.
    """

    format_name = "parquet"

    def _columns(self, path: Path) -> tuple[Places, Layout]:
        with mapped(path) as data, opened(path) as file:
            _check_footer(path, data)
            known, reasons = columns_of(file.schema_arrow)
            names = file.schema_arrow.names
            clear = [column for column in known if _is_clear(column.name, names)]
            reasons += [f"column {c.name:.80}: another column has its path" for c in known if c not in clear]
            chunks = Chunks(path, data, file, clear)
            found = find_columns(path, file.metadata.num_rows, (clear, reasons), chunks.seen, chunks.numbers)
            return found, chunks.layout([column for column in clear if column.field.name in found.elsewhere])


def _check_footer(path: Path, data: memoryview) -> None:
    try:
        check_footer(data)
    except CorruptShardError as error:
        raise InputError(f"{path} is damaged: {error}; copy or make it again") from error


def _is_clear(name: str, names: Sequence[str]) -> bool:
    """Whether the path of a column is that of no other one; a dot means a child to pyarrow."""
    alike = [other for other in names if f"{other}.".startswith(f"{name}.") or f"{name}.".startswith(f"{other}.")]
    return len(alike) == 1


class Chunks:
    """The column chunks of an open file, of which nothing is decoded before their page headers were read."""

    def __init__(self, path: Path, data: memoryview, file: Any, columns: Sequence[ArrowColumn]) -> None:
        self.path, self.data, self.file = path, data, file
        paths = [file.schema.column(number).path for number in range(file.metadata.num_columns)]
        starts = {column.number: _path_of(column) for column in columns}
        self.leaves = {
            number: [n for n, leaf in enumerate(paths) if f"{leaf}.".startswith(f"{start}.")]
            for number, start in starts.items()
        }
        self.groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        self.pages = {n: [self._pages(group, n) for group in self.groups] for ns in self.leaves.values() for n in ns}
        values = sum(found.values for column in self.pages.values() for found in column)
        if values > max(_MOST_VALUES, len(data)):
            raise LimitError(f"{path} says that it holds {values} values in {len(data)} bytes; write it anew")

    def _pages(self, group: Any, leaf: int) -> Pages:
        """Return what the headers of one chunk say, which must hold a value for every row."""
        found = check_pages(self.data, group.column(leaf))
        is_list = self.file.schema.column(leaf).max_repetition_level > 0
        if found.values < group.num_rows or (found.values > group.num_rows and not is_list):
            raise InputError(
                f"{self.path}: column {self.file.schema.column(leaf).path!r} of a row group has {found.values} values "
                f"for {group.num_rows} rows: the file is damaged, copy or make it again"
            )
        return found

    def numbers(self, column: ArrowColumn) -> Any:
        """Return the numbers of a column."""
        return self.file.read([column.name], use_threads=False).column(0)

    def seen(self, column: ArrowColumn) -> Seen:
        """Return what is there of a column that is not of numbers."""
        seen, leaves = Seen(), self.leaves[column.number]
        if not column.is_plain or len(leaves) != 1:
            seen.elsewhere = f"type {self.file.schema_arrow.field(column.number).type!s:.80}"
        chunks = [group.column(leaf) for group in self.groups for leaf in leaves]
        if not any(self.file.schema.column(leaf).max_repetition_level for leaf in leaves):
            seen.missing = sum(c.statistics.null_count or 0 for c in chunks if c.statistics is not None)
        for number, chunk in enumerate(chunks if not seen.elsewhere else ()):
            try:
                seen.ranges.append(self._ranges(chunk, leaves[0]))
            except NotPlainError:
                seen.elsewhere = _storage_of(chunk)
                break
            except CorruptShardError as error:
                raise InputError(f"{self.path}: column {column.name!r} of row group {number}: {error}") from error
        if column.otherwise:
            seen.first = self._first(column, seen)
        return seen

    def _ranges(self, chunk: Any, leaf: int) -> NDArray[np.int64]:
        nullable, known = self.file.schema.column(leaf).max_definition_level > 0, chunk.statistics is not None
        if known and chunk.statistics.null_count:
            raise NotPlainError("values are missing")
        try:
            return chunk_ranges(self.data, chunk, nullable)
        except NotPlainError:
            raise
        except CorruptShardError:
            if not nullable or (known and chunk.statistics.has_null_count):
                raise
            raise NotPlainError("values may be missing") from None

    def _first(self, column: ArrowColumn, seen: Seen) -> bytes | None:
        if not seen.elsewhere:
            offsets, lengths = np.concatenate([np.empty((2, 0), np.int64), *seen.ranges], axis=1)
            return bytes(self.data[offsets[0] : offsets[0] + lengths[0]]) if len(offsets) else None
        rows = next(self.layout([column]).decoded(0), None)
        return first_of(column, rows[column.field.name]) if rows else None

    def layout(self, columns: Sequence[ArrowColumn]) -> "ParquetLayout":
        """Return how the rows of some columns are decoded."""
        leaves = [leaf for column in columns for leaf in self.leaves[column.number]]
        starts = np.cumsum([0, *(group.num_rows for group in self.groups)], dtype=np.int64)
        steps = [
            self._step(group.num_rows, [self.pages[leaf][number] for leaf in leaves])
            for number, group in enumerate(self.groups)
        ]
        lists = [leaf for leaf in leaves if self.file.schema.column(leaf).max_repetition_level]
        words = [self.file.schema.column(leaf) for leaf in lists]
        kept = [leaf.path for leaf in words if leaf.physical_type == "BYTE_ARRAY"]
        return ParquetLayout(self.path, tuple(columns), starts, steps, kept)

    def _step(self, count: int, found: Sequence[Pages]) -> int:
        """Return how many rows of a row group are decoded at a time."""
        each = max(1, sum(chunk.nbytes for chunk in found) // max(1, count))
        repeated = max(1, sum(chunk.repeated for chunk in found))
        return max(1, min(count, _PIECE // each, pages.MAX_PAGE // repeated))


def _path_of(column: ArrowColumn) -> str:
    return f"{column.name}.bytes" if column.in_struct else column.name


def _storage_of(chunk: Any) -> str:
    if chunk.compression != "UNCOMPRESSED":
        return f"compressed ({chunk.compression.lower()})"
    if chunk.has_dictionary_page:
        return "dictionary-encoded"
    return f"stored as {chunk.physical_type} in pages that are not plain, or values are missing"


@dataclass(frozen=True)
class ParquetLayout:
    """How the rows of a file are decoded: page by page, so that a large row group takes no more memory.

    Parameters
    ----------
    path : Path
    columns : tuple of ArrowColumn
        Those that are decoded.
    starts : ndarray
        First rows of the row groups.
    steps : list of int
        Rows that are decoded at a time, of each row group.
    words : list of str
        Paths of strings in lists, of which a dictionary is kept: a short page can repeat its values very often.
    """

    path: Path
    columns: tuple[ArrowColumn, ...]
    starts: NDArray[np.int64]
    steps: list[int]
    words: list[str]

    def decoded(self, number: int) -> Iterator[Rows]:
        """Yield the rows from row group `number` on."""
        paths = [_path_of(column) for column in self.columns]
        with opened(self.path, read_dictionary=self.words, buffer_size=2**20, pre_buffer=False) as file:
            for group in range(number, len(self.steps)):
                batches = file.iter_batches(self.steps[group], row_groups=[group], columns=paths, use_threads=False)
                for batch in batches:
                    batch.validate(full=True)
                    yield {c.field.name: values_of(c, batch.column(c.name)) for c in self.columns}
