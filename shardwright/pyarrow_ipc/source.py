"""Samples in Arrow files and streams that other programs wrote, such as Hugging Face's ``save_to_disk``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardwright.base.source import Places
from shardwright.base.storage.files import FileCache, read_exactly
from shardwright.pyarrow_ipc.arrow_columns import byte_values
from shardwright.pyarrow_ipc.arrow_features import ArrowColumn, Seen, columns_of, find_columns, first_of, values_of
from shardwright.pyarrow_ipc.arrow_inflate import check_inflated, messages
from shardwright.pyarrow_ipc.arrow_rows import ColumnsSource, Layout, Rows

__all__ = ["IpcSource"]


class IpcSource(ColumnsSource):
    """The samples of Arrow IPC files or streams.

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

    format_name = "pyarrow_ipc"

    def _columns(self, path: Path) -> tuple[Places, Layout]:
        with pa.memory_map(os.fsencode(path)) as file:
            whole = file.read_buffer()
            file.seek(0)
            is_file = file.read(6) == b"ARROW1"
            file.seek(0)
            with _opened(file, is_file) as (schema, batches):
                check_inflated(path, whole)
                columns = columns_of(schema)
                seen = {column.number: Seen() for column in columns[0]}
                numbers: dict[int, list[Any]] = {column.number: [] for column in columns[0]}
                starts = [0]
                for batch in batches:
                    batch.validate(full=True)  # offsets may be forged
                    starts.append(starts[-1] + batch.num_rows)
                    for column in columns[0] if batch.num_rows else ():
                        values = batch.column(column.number)
                        if column.field.is_scalar:
                            numbers[column.number].append(values)
                        else:
                            _look_at(values_of(column, values), column, seen[column.number], whole)

                def numbers_of(column: ArrowColumn) -> Any:
                    return pa.chunked_array(numbers[column.number], schema.field(column.number).type)

                found = find_columns(path, starts[-1], columns, lambda column: seen[column.number], numbers_of)
            decoded = tuple(column for column in columns[0] if column.field.name in found.elsewhere)
            rows = np.array(starts, np.int64)
            if is_file:
                return found, FileLayout(path, decoded, rows)
            places = [Place(m.kind, m.start, m.stop) for m in messages(whole)] if decoded else []
            return found, StreamLayout(path, decoded, rows, places, whole.size)


@contextmanager
def _opened(file: Any, is_file: bool) -> Iterator[tuple[Any, Iterator[Any]]]:
    """Open a file or stream: its schema, and its batches as they lie in memory."""
    if is_file:
        with pa.ipc.open_file(file) as reader:
            yield reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        with pa.ipc.open_stream(file) as reader:
            yield reader.schema, iter(reader)


def _look_at(values: Any, column: ArrowColumn, seen: Seen, whole: Any) -> None:
    """Add to what was seen of a column what a batch holds of it."""
    seen.missing += values.null_count
    if seen.first is None:
        seen.first = first_of(column, values)
    if not column.is_plain:
        seen.elsewhere = f"type {values.type!s:.80}"
    if seen.elsewhere or values.null_count:
        seen.elsewhere = seen.elsewhere or "values are missing"
        return
    cuts, data = byte_values(values)
    start = data.address - whole.address if data.size else 0
    if start < 0 or start + data.size > whole.size:
        seen.elsewhere = "compressed"  # its values are in memory only
    else:
        seen.ranges.append(np.stack([start + cuts[:-1], np.diff(cuts)]))


@dataclass(frozen=True)
class FileLayout:
    """How the batches of a file are decoded."""

    path: Path
    columns: tuple[ArrowColumn, ...]
    starts: NDArray[np.int64]

    def decoded(self, number: int) -> Iterator[Rows]:
        """Yield the batches from `number` on."""
        with pa.OSFile(os.fsencode(self.path)) as file, pa.ipc.open_file(file, options=_only(self.columns)) as reader:
            for batch in range(number, reader.num_record_batches):
                yield _rows(self.columns, reader.get_batch(batch))


class Place(NamedTuple):
    """The bytes of one message in a stream; `kind` as that of `Message`."""

    kind: str
    start: int
    stop: int


@dataclass(frozen=True)
class StreamLayout(FileLayout):
    """How the batches of a stream are decoded: each as a stream of its own, with what all batches need before it."""

    places: list[Place]
    size: int
    files: FileCache = field(default_factory=FileCache)

    def decoded(self, number: int) -> Iterator[Rows]:
        """Yield the batches from `number` on."""
        batches = [n for n, place in enumerate(self.places) if place.kind == "record batch"]
        for at in batches[number:]:
            before = [place for place in self.places[:at] if place.kind != "record batch"]
            stream = pa.py_buffer(b"".join(map(self._bytes, [*before, self.places[at]])))
            yield _rows(self.columns, pa.ipc.open_stream(stream, options=_only(self.columns)).read_next_batch())

    def _bytes(self, place: Place) -> bytes:
        with self.files.open(self.path, self.size) as fd:
            return read_exactly(fd, place.stop - place.start, place.start, self.path)


def _only(columns: tuple[ArrowColumn, ...]) -> Any:
    return pa.ipc.IpcReadOptions(included_fields=[column.number for column in columns], use_threads=False)


def _rows(columns: tuple[ArrowColumn, ...], batch: Any) -> Rows:
    batch.validate(full=True)
    return {column.field.name: values_of(column, batch.column(n)) for n, column in enumerate(columns)}
