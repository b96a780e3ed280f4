"""Samples in Arrow files and streams that other programs wrote, such as Hugging Face's ``save_to_disk``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datasets.base.adopt import Found
from datasets.base.adopt_values import is_image
from datasets.base.errors import InputError
from datasets.base.fields import Field
from datasets.base.index import Ranges
from datasets.pyarrow_ipc.arrow_features import ArrowColumn, columns_of, scalar_values

__all__ = ["adopt_ipc"]

CONVERT = "convert it: what Hugging Face's Dataset.from_file(path) gives is an input of every converter"


class _ElsewhereError(Exception):
    """The values of a column do not lie in the file as they are."""


def adopt_ipc(path: Path) -> Found:
    """Find the samples of an Arrow IPC file or stream.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it is damaged, or its images are compressed or encoded.
    """
    with pa.memory_map(str(path)) as file:
        whole = file.read_buffer()
        file.seek(0)
        with _opened(file) as (schema, batches):
            columns, reasons = columns_of(schema)
            parts: dict[int, list[Any]] = {column.number: [] for column in columns}
            lost: dict[int, str] = {}
            count = 0
            for batch in batches:
                count += batch.num_rows
                batch.validate(full=True)  # offsets may be forged
                for column in columns:
                    try:
                        parts[column.number].append(_part(batch.column(column.number), column, whole))
                    except _ElsewhereError as error:
                        lost[column.number] = str(error)
            return _found(path, count, columns, parts, lost, reasons, whole)


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
    if values.null_count:
        raise _ElsewhereError(f"{values.null_count} values are missing")
    if column.in_struct:
        values = values.field("bytes")
        if values.null_count:
            raise _ElsewhereError(f"{values.null_count} values are missing")
    wide = pa.types.is_large_binary(values.type) or pa.types.is_large_string(values.type)
    _, cuts, data = values.buffers()
    if not len(values):
        return np.empty((2, 0), np.int64)
    dtype = np.dtype(np.int64 if wide else np.int32)
    ends = np.frombuffer(cuts, dtype, len(values) + 1, values.offset * dtype.itemsize).astype(np.int64)
    start = 0 if data is None or not data.size else data.address - whole.address
    if start < 0 or start + (data.size if data is not None else 0) > whole.size:
        raise _ElsewhereError("compressed")  # its values are in memory only
    return np.stack([start + ends[:-1], np.diff(ends)])


def _found(
    path: Path,
    count: int,
    columns: list[ArrowColumn],
    parts: dict[int, list[Any]],
    lost: dict[int, str],
    reasons: list[str],
    whole: Any,
) -> Found:
    fields: list[Field] = []
    ranges: dict[str, Ranges] = {}
    scalars: dict[str, NDArray[Any]] = {}
    for column in columns:
        field, values = column.field, parts[column.number]
        if column.number in lost:
            if field.is_image and not column.is_guess:
                raise InputError(f"{path}: column {column.name!r}: {lost[column.number]}: {CONVERT}")
            reasons.append(f"column {column.name:.80}: {lost[column.number]}")
        elif not field.is_scalar:
            found = Ranges(path, *np.concatenate(values or [np.empty((2, 0), np.int64)], axis=1))
            ranges[field.name] = found
            fields.append(_as_seen(column, found, whole))
        elif values and (numbers := scalar_values(field, pa.chunked_array(values))) is not None:
            fields.append(numbers[0])
            scalars[field.name] = numbers[1].copy()  # not a part of the mapped file
        else:
            reasons.append(f"column {column.name:.80}: missing or too large values")
    if count and not ranges:
        raise InputError(f"{path}: no column can be read in place ({'; '.join(reasons) or 'it has none'}): {CONVERT}")
    return Found(count, tuple(fields), ranges, scalars, (path,), dict.fromkeys(reasons, count))


def _as_seen(column: ArrowColumn, ranges: Ranges, whole: Any) -> Field:
    """Return the field of a column, whose first value decides whether bytes are images."""
    if not column.is_guess or not len(ranges.offsets):
        return column.field
    first = whole.slice(int(ranges.offsets[0]), int(ranges.lengths[0]))
    return column.field if is_image(first) else Field(column.field.name, "bytes")
