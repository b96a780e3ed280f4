"""Write splits of Arrow IPC files."""

from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from shardwright.base.converter import ConverterFlexibleSize
from shardwright.base.fields import Field
from shardwright.base.values.columns import Batch
from shardwright.pyarrow_ipc.arrow_columns import ArrowShard, open_shard

__all__ = ["IpcConverter"]


class IpcConverter(ConverterFlexibleSize):
    """Convert to Arrow IPC files, uncompressed, in record batches of at most 16 MiB; see `Converter`.

    Examples
    --------
    >>> IpcConverter("images", "out", images_per_file=1000).convert()  # doctest: +SKIP
    """

    format_name = "pyarrow_ipc"

    def _open_shard(self, path: Path, fields: tuple[Field, ...]) -> AbstractContextManager[ArrowShard]:
        return open_shard(path, fields, pa.ipc.new_file)

    def _write_data_to_disk(self, shard: ArrowShard, batch: Batch) -> None:
        shard.add(batch)
