"""Write splits of Arrow IPC files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from datasets.base.converter import ConverterFlexibleSize
from datasets.base.fields import Field
from datasets.base.groups import Groups
from datasets.base.pipeline import Batch
from datasets.base.storage import WriteFile
from datasets.pyarrow_ipc.arrow_columns import Space, schema_of, table_of

__all__ = ["IpcConverter"]


@dataclass(slots=True)
class _Shard:
    writer: pa.RecordBatchFileWriter
    fields: tuple[Field, ...]
    schema: pa.Schema
    groups: Groups = field(default_factory=Groups)
    space: Space = field(default_factory=dict)

    def write(self, groups: Iterator[Batch]) -> None:
        for group in groups:
            self.writer.write_batch(table_of(group, self.fields, self.schema, self.space))


class IpcConverter(ConverterFlexibleSize):
    """Convert to Arrow IPC files, uncompressed, in record batches of at most 16 MiB; see `Converter`.

    Examples
    --------
    >>> IpcConverter("images", "out", images_per_file=1000).convert()  # doctest: +SKIP
    """

    format_name = "pyarrow_ipc"

    @contextmanager
    def _open_shard(self, path: Path, fields: tuple[Field, ...]) -> Iterator[_Shard]:
        schema = schema_of(fields)
        with WriteFile(path) as file, pa.PythonFile(file) as sink, pa.ipc.new_file(sink, schema) as writer:
            shard = _Shard(writer, fields, schema)
            yield shard
            shard.write(shard.groups.rest())

    def _write_data_to_disk(self, shard: _Shard, batch: Batch) -> None:
        shard.write(shard.groups.add(batch))
