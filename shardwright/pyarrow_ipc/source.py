"""Samples in Arrow files and streams that other programs wrote, such as Hugging Face's ``save_to_disk``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shardwright.base.file_source import FilesSource
from shardwright.base.source import Places
from shardwright.pyarrow_ipc.arrow_columns import byte_values
from shardwright.pyarrow_ipc.arrow_features import ArrowColumn, ElsewhereError, columns_of, find_columns
from shardwright.pyarrow_ipc.arrow_inflate import check_inflated

__all__ = ["IpcSource"]

CONVERT = "convert it: what Hugging Face's Dataset.from_file(path) gives is an input of every converter"


def adopt_ipc(path: Path) -> Places:
    """Find the samples of an Arrow IPC file or stream.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it is damaged, or its images are compressed or encoded.
    LimitError
        If it is compressed, and much larger than it seems.
    """
    with pa.memory_map(os.fsencode(path)) as file:
        whole = file.read_buffer()
        file.seek(0)
        with _opened(file) as (schema, batches):
            check_inflated(path, whole)
            columns = columns_of(schema)
            parts: dict[int, list[Any]] = {column.number: [] for column in columns[0]}
            lost: dict[int, ElsewhereError] = {}
            count = 0
            for batch in batches:
                count += batch.num_rows
                batch.validate(full=True)  # offsets may be forged
                for column in columns[0] if batch.num_rows else ():
                    try:
                        parts[column.number].append(_part(batch.column(column.number), column, whole))
                    except ElsewhereError as error:
                        lost[column.number] = error

            def values_of(column: ArrowColumn) -> Any:
                if column.number in lost:
                    raise lost[column.number]
                found = parts[column.number]
                if column.field.is_scalar:
                    return pa.chunked_array(found, schema.field(column.number).type)
                return found

            return find_columns(path, memoryview(whole), count, columns, values_of, CONVERT)


@contextmanager
def _opened(file: Any) -> Iterator[tuple[Any, Iterator[Any]]]:
    """Open either kind of file: its schema, and its batches as they lie in memory."""
    magic = file.read(6)
    file.seek(0)
    if magic == b"ARROW1":
        with pa.ipc.open_file(file) as reader:
            yield reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        with pa.ipc.open_stream(file) as reader:
            yield reader.schema, iter(reader)


def _part(values: Any, column: ArrowColumn, whole: Any) -> Any:
    """Return a batch's numbers, or offsets and lengths (2, N) of its bytes."""
    if column.field.is_scalar:
        return values
    if column.in_struct:
        values = values.flatten()[values.type.get_field_index("bytes")]  # missing where the struct is
    if values.null_count:
        raise ElsewhereError(f"{values.null_count} values are missing")
    cuts, data = byte_values(values)
    start = data.address - whole.address if data.size else 0
    if start < 0 or start + data.size > whole.size:
        raise ElsewhereError("compressed")  # its values are in memory only
    return np.stack([start + cuts[:-1], np.diff(cuts)])


class IpcSource(FilesSource):
    """The samples of such files.

    Parameters
    ----------
    paths : path or sequence of paths
    """

    format_name = "pyarrow_ipc"

    def _look(self, path: Path) -> Places:
        return adopt_ipc(path)
