"""Samples in Parquet files that other programs wrote, such as Hugging Face's `datasets`.

Values can be read where they lie if their column is neither compressed nor
encoded, which is how images are usually stored. Numbers are copied to the
index, however they are stored.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError, InputError
from shardwright.base.file_source import FilesSource
from shardwright.base.source import Places
from shardwright.base.storage.files import mapped
from shardwright.parquet.pages import check_pages, chunk_ranges
from shardwright.parquet.reader import opened
from shardwright.pyarrow_ipc.arrow_features import NOT_ALL, ArrowColumn, ElsewhereError, columns_of, find_columns

__all__ = ["ParquetSource"]

CONVERT = "convert it: what Hugging Face's load_dataset('parquet', ...) gives is an input of every converter"


def adopt_parquet(path: Path) -> Places:
    """Find the samples of a Parquet file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it is damaged, or its images are compressed or encoded.
    """
    with mapped(path) as data, opened(path) as file:

        def values_of(column: ArrowColumn) -> Any:
            return _numbers(data, file, column) if column.field.is_scalar else _locate(path, data, file, column)

        columns = columns_of(file.schema_arrow)
        return find_columns(path, data, file.metadata.num_rows, columns, values_of, CONVERT)


def _numbers(data: memoryview, file: Any, column: ArrowColumn) -> Any:
    number = _leaf(file, column)
    for group in range(file.num_row_groups):
        check_pages(data, file.metadata.row_group(group).column(number))
    table = file.read([column.name])
    if table.column_names != [column.name]:  # a dot in a name, which means a child to pyarrow
        raise ElsewhereError(NOT_ALL)
    return table.column(0)


def _locate(path: Path, data: memoryview, file: Any, column: ArrowColumn) -> list[NDArray[np.int64]]:
    """Return offsets and lengths (2, N) of a column in each row group."""
    number = _leaf(file, column)
    nullable = file.schema.column(number).max_definition_level > 0
    parts: list[NDArray[np.int64]] = []
    for group in range(file.num_row_groups):
        row_group = file.metadata.row_group(group)
        try:
            parts.append(_locate_chunk(data, row_group.column(number), nullable))
        except CorruptShardError as error:
            raise InputError(f"{path}: column {column.name!r} of row group {group}: {error}: {CONVERT}") from error
        if parts[-1].shape[1] != row_group.num_rows:
            raise InputError(
                f"{path}: column {column.name!r} of row group {group} has {parts[-1].shape[1]} values for "
                f"{row_group.num_rows} rows: the file is damaged, copy or make it again"
            )
    count = sum(part.shape[1] for part in parts)
    if count != file.metadata.num_rows:
        raise InputError(f"{path}: {count} values, {file.metadata.num_rows} rows: the file is damaged")
    return parts


def _leaf(file: Any, column: ArrowColumn) -> int:
    """Return the number of the column's bytes among all columns, which in the file are without structs."""
    path = f"{column.name}.bytes" if column.in_struct else column.name
    found = [number for number in range(file.metadata.num_columns) if file.schema.column(number).path == path]
    if len(found) != 1:  # a dot in the name of another one
        raise ElsewhereError(f"{len(found)} columns have its path")
    return found[0]


def _locate_chunk(data: memoryview, chunk: Any, nullable: bool) -> NDArray[np.int64]:
    """Return offsets and lengths (2, N) of one column of a row group."""
    if chunk.compression != "UNCOMPRESSED":
        raise ElsewhereError(f"compressed ({chunk.compression.lower()})")
    if chunk.has_dictionary_page or chunk.physical_type != "BYTE_ARRAY":
        raise ElsewhereError("dictionary-encoded" if chunk.has_dictionary_page else f"stored as {chunk.physical_type}")
    if chunk.statistics is not None and chunk.statistics.null_count:
        raise ElsewhereError(f"{chunk.statistics.null_count} values are missing")
    return chunk_ranges(data, chunk, nullable)


class ParquetSource(FilesSource):
    """The samples of such files.

    Parameters
    ----------
    paths : path or sequence of paths
    """

    format_name = "parquet"

    def _look(self, path: Path) -> Places:
        return adopt_parquet(path)
