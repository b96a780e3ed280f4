"""Samples in Parquet files that other programs wrote, such as Hugging Face's `datasets`.

Values can be read where they lie if their column is neither compressed nor
encoded, which is how images are usually stored. Numbers are copied to the
index, however they are stored.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from datasets.base.adopt import Found
from datasets.base.adopt_values import is_image
from datasets.base.errors import CorruptShardError, InputError
from datasets.base.fields import Field
from datasets.base.index import Ranges
from datasets.base.storage import mapped
from datasets.parquet.pages import value_ranges
from datasets.pyarrow_ipc.arrow_features import ArrowColumn, columns_of, scalar_values

__all__ = ["adopt_parquet"]

CONVERT = "convert it: what Hugging Face's load_dataset('parquet', ...) gives is an input of every converter"


class _ElsewhereError(Exception):
    """The values of a column do not lie in the file as they are."""


def adopt_parquet(path: Path) -> Found:
    """Find the samples of a Parquet file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it is damaged, or its images are compressed or encoded.
    """
    fields: list[Field] = []
    ranges: dict[str, Ranges] = {}
    scalars: dict[str, NDArray[Any]] = {}
    with mapped(path) as data, pq.ParquetFile(path) as file:
        count = file.metadata.num_rows
        columns, reasons = columns_of(file.schema_arrow)
        for column in columns:
            if column.field.is_scalar:
                continue
            try:
                ranges[column.field.name] = _locate(path, data, file, column)
            except _ElsewhereError as error:
                if column.field.is_image and not column.is_guess:
                    raise InputError(f"{path}: column {column.name!r}: {error}: {CONVERT}") from error
                reasons.append(f"column {column.name:.80}: {error}")
            else:
                fields.append(_as_seen(column, data, ranges[column.field.name]))
        if not fields:
            raise InputError(
                f"{path}: no column can be read in place ({'; '.join(reasons) or 'it has none'}): {CONVERT}"
            )
        for column in columns:
            # Not before the values were found: `count` is then as many as there are, whatever the file says.
            found = _numbers(file, column) if column.field.is_scalar else None
            if found is not None:
                fields.append(found[0])
                scalars[found[0].name] = found[1]
            elif column.field.is_scalar:
                reasons.append(f"column {column.name:.80}: missing or too large values")
    fields.sort(key=lambda f: next(c.number for c in columns if c.field.name == f.name))
    return Found(count, tuple(fields), ranges, scalars, (path,), dict.fromkeys(reasons, count))


def _numbers(file: Any, column: ArrowColumn) -> tuple[Field, NDArray[Any]] | None:
    table = file.read([column.name])
    if table.column_names != [column.name]:  # a dot in a name, which means a child to pyarrow
        return None
    return scalar_values(column.field, table.column(0))


def _as_seen(column: ArrowColumn, data: memoryview, ranges: Ranges) -> Field:
    """Return the field of a column, whose first value decides whether bytes are images."""
    if not column.is_guess or not len(ranges.offsets):
        return column.field
    start = int(ranges.offsets[0])
    seen = is_image(data[start : start + int(ranges.lengths[0])])
    return column.field if seen else Field(column.field.name, "bytes")


def _locate(path: Path, data: memoryview, file: Any, column: ArrowColumn) -> Ranges:
    number = _leaf(file.schema_arrow, column)
    nullable = file.schema.column(number).max_definition_level > 0
    parts = [np.empty((2, 0), np.int64)]
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
    offsets, lengths = np.concatenate(parts, axis=1)
    if len(offsets) != file.metadata.num_rows:
        raise InputError(f"{path}: {len(offsets)} values, {file.metadata.num_rows} rows: the file is damaged")
    return Ranges(path, offsets, lengths)


def _leaf(schema: Any, column: ArrowColumn) -> int:
    """Return the number of the column's bytes among all columns, which in the file are without structs."""
    before = sum(_leaves(schema.field(number).type) for number in range(column.number))
    if not column.in_struct:
        return before
    struct = schema.field(column.number).type
    return before + sum(_leaves(struct.field(number).type) for number in range(struct.get_field_index("bytes")))


def _leaves(kind: Any) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves(kind.storage_type)
    return sum(_leaves(kind.field(n).type) for n in range(kind.num_fields)) if kind.num_fields else 1


def _locate_chunk(data: memoryview, chunk: Any, nullable: bool) -> NDArray[np.int64]:
    """Return offsets and lengths (2, N) of one column of a row group."""
    if chunk.compression != "UNCOMPRESSED":
        raise _ElsewhereError(f"compressed ({chunk.compression.lower()})")
    if chunk.has_dictionary_page or chunk.physical_type != "BYTE_ARRAY":
        raise _ElsewhereError("dictionary-encoded" if chunk.has_dictionary_page else f"stored as {chunk.physical_type}")
    if chunk.statistics is not None and chunk.statistics.null_count:
        raise _ElsewhereError(f"{chunk.statistics.null_count} values are missing")
    start, stop = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    if not 4 <= start <= stop <= len(data):
        raise CorruptShardError(f"bytes {start} to {stop} are not in the file of {len(data)} bytes")
    return np.array(list(value_ranges(data, start, stop, nullable)), np.int64).reshape(-1, 2).T
