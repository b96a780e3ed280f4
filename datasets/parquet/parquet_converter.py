"""Write splits of Parquet files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datasets.base.converter import ConverterFlexibleSize
from datasets.base.fields import Field
from datasets.base.groups import Groups
from datasets.base.pipeline import Batch
from datasets.base.storage import WriteFile
from datasets.pyarrow_ipc.arrow_columns import Space, schema_of, table_of

__all__ = ["ParquetConverter"]


@dataclass(slots=True)
class _Shard:
    writer: pq.ParquetWriter
    fields: tuple[Field, ...]
    schema: pa.Schema
    groups: Groups = field(default_factory=Groups)
    space: Space = field(default_factory=dict)

    def write(self, groups: Iterator[Batch]) -> None:
        for group in groups:
            table = pa.Table.from_batches([table_of(group, self.fields, self.schema, self.space)])
            self.writer.write_table(table, row_group_size=len(group))


class ParquetConverter(ConverterFlexibleSize):
    """Convert to Parquet files in row groups of at most 16 MiB; see `Converter`.

    Values are stored PLAIN and uncompressed, with page checksums, so that each
    lies in the file as it is and can be read on its own.

    Examples
    --------
    >>> ParquetConverter("images", "out", images_per_file=1000).convert()  # doctest: +SKIP
    """

    format_name = "parquet"

    @contextmanager
    def _open_shard(self, path: Path, fields: tuple[Field, ...]) -> Iterator[_Shard]:
        schema = schema_of(fields)
        with WriteFile(path) as file, pa.PythonFile(file) as sink:
            writer = pq.ParquetWriter(
                sink,
                schema,
                compression="none",
                use_dictionary=False,
                column_encoding=None,
                write_statistics=[f.name for f in fields if f.is_scalar],
                write_page_index=False,
                write_page_checksum=True,
            )
            with writer:
                shard = _Shard(writer, fields, schema)
                yield shard
                shard.write(shard.groups.rest())

    def _write_data_to_disk(self, shard: _Shard, batch: Batch) -> None:
        shard.write(shard.groups.add(batch))
