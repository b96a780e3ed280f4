"""Read splits of Parquet files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base.errors import CorruptShardError
from datasets.base.fields import Field
from datasets.base.index import Ranges
from datasets.base.reader import Reader
from datasets.base.storage import mapped

__all__ = ["ParquetReader"]


class ParquetReader(Reader):
    """A split of Parquet files; see `Reader`.

    Examples
    --------
    >>> reader = ParquetReader("out")  # doctest: +SKIP
    >>> image, label = reader[0]  # doctest: +SKIP
    """

    format_name = "parquet"

    @staticmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        import pyarrow.parquet as pq  # only a converter locates

        stored = [f for f in fields if not f.is_scalar]
        found: dict[str, list[np.ndarray]] = {f.name: [] for f in stored}
        with mapped(path) as data, pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                for f in stored:
                    found[f.name].append(_locate_chunk(path, data, file, group, f))
        empty = [np.empty((2, 0), np.int64)]
        return {name: Ranges(path, *np.concatenate(parts or empty, axis=1)) for name, parts in found.items()}


def _locate_chunk(path: Path, data: memoryview, file: Any, group: int, field: Field) -> np.ndarray:
    """Return offsets and lengths (2, N) of one column of a row group.

    PLAIN byte arrays are a 4-byte length and the bytes, value after value, with
    headers between pages. So each value stands where the one before ended, or
    at the next place where its length and its bytes are found.
    """
    from datasets.pyarrow_ipc.arrow_columns import byte_values

    leaf = f"{field.name}.bytes" if field.is_image else field.name
    columns = file.metadata.row_group(group)
    chunk = next(c for c in map(columns.column, range(columns.num_columns)) if c.path_in_schema == leaf)
    start, stop = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    table = file.read_row_group(group, columns=[leaf]).column(0).combine_chunks()
    cuts, buffer = byte_values(table)
    values, lengths = memoryview(buffer).cast("B"), np.diff(cuts)
    offsets = np.empty_like(lengths)
    for row, (a, b) in enumerate(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)):
        wanted = (b - a).to_bytes(4, "little") + bytes(values[a : min(b, a + 32)])
        while data[start : start + len(wanted)] != wanted or data[start + 4 : start + 4 + b - a] != values[a:b]:
            step = bytes(data[start + 1 : min(stop, start + 2**20)]).find(wanted)
            if step < 0:
                raise CorruptShardError(f"{path}: value {row} of {leaf!r} in row group {group} is not stored as it is")
            start += 1 + step
        offsets[row] = start + 4
        start += 4 + b - a
    return np.stack([offsets, lengths])
