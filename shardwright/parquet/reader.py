"""Read splits of Parquet files."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import CorruptShardError
from shardwright.base.fields import Field
from shardwright.base.reader import Reader
from shardwright.base.storage.files import mapped
from shardwright.base.storage.ranges import Ranges
from shardwright.parquet.pages import check_footer, check_plain, chunk_ranges

__all__ = ["ParquetReader", "opened"]


class ParquetReader(Reader):
    """A split of Parquet files; see `Reader`.

    Examples
    --------
    >>> reader = ParquetReader("out")  # doctest: +SKIP
    >>> image, label = reader[0]  # doctest: +SKIP
    """

    format_name = "parquet"

    @staticmethod
    def _read_scalars(path: Path, fields: tuple[Field, ...]) -> Mapping[str, np.ndarray]:
        names = [f.name for f in fields if f.is_scalar]
        with mapped(path) as data, opened(path) as file:
            check_footer(data)
            for group in range(file.num_row_groups):
                for name in names:  # a dictionary of one value could stand for any number of rows
                    check_plain(data, _chunk(path, file, group, name)[0], width=8)
            table = file.read(columns=names)
        return {name: table.column(name).to_numpy() for name in names}

    @staticmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        stored = [f for f in fields if not f.is_scalar]
        found: dict[str, list[np.ndarray]] = {f.name: [] for f in stored}
        with mapped(path) as data, opened(path) as file:
            check_footer(data)
            for group in range(file.num_row_groups):
                for f in stored:
                    found[f.name].append(_locate_chunk(path, data, file, group, f))
        return {name: Ranges.joined(path, parts) for name, parts in found.items()}


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[Any]:
    """Open a file as pyarrow.parquet.ParquetFile, which takes no path that is not UTF-8."""
    import pyarrow as pa  # only converting, indexing and verifying need it
    import pyarrow.parquet as pq

    with pa.OSFile(os.fsencode(path)) as raw, pq.ParquetFile(raw, **options) as file:
        yield file


def _locate_chunk(path: Path, data: memoryview, file: Any, group: int, field: Field) -> np.ndarray:
    """Return offsets and lengths (2, N) of one column of a row group."""
    leaf = f"{field.name}.bytes" if field.is_image else field.name
    chunk, nullable = _chunk(path, file, group, leaf)
    try:
        return chunk_ranges(data, chunk, nullable)
    except (CorruptShardError, IndexError) as error:
        raise CorruptShardError(f"{path}: column {leaf!r} of row group {group}: {error}") from error


def _chunk(path: Path, file: Any, group: int, leaf: str) -> tuple[Any, bool]:
    """Return what the footer says of a column of a row group, and whether values may be missing."""
    row_group = file.metadata.row_group(group)
    number = next((i for i in range(row_group.num_columns) if row_group.column(i).path_in_schema == leaf), None)
    if number is None:
        raise CorruptShardError(f"{path}: row group {group} has no column {leaf!r}")
    return row_group.column(number), file.schema.column(number).max_definition_level > 0
