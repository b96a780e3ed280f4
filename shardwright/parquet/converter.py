"""Write splits of Parquet files."""

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from shardwright.base.converter import ConverterFlexibleSize
from shardwright.base.fields import Field
from shardwright.base.values.columns import Batch
from shardwright.pyarrow_ipc.arrow_columns import ArrowShard, open_shard

__all__ = ["ParquetConverter"]


class ParquetConverter(ConverterFlexibleSize):
    """Convert to Parquet files in row groups of at most 16 MiB; see `Converter`.

    Values are stored PLAIN and uncompressed, with page checksums, so that each
    lies in the file as it is and can be read on its own.

    Examples
    --------
    >>> ParquetConverter("images", "out", images_per_file=1000).convert()  # doctest: +SKIP
    """

    format_name = "parquet"

    def _open_shard(self, path: Path, fields: tuple[Field, ...]) -> AbstractContextManager[ArrowShard]:
        open_writer = partial(
            pq.ParquetWriter,
            compression="none",
            use_dictionary=False,
            column_encoding=None,
            write_statistics=[f.name for f in fields if f.is_scalar],
            write_page_index=False,
            write_page_checksum=True,
        )
        return open_shard(path, fields, open_writer)

    def _write_data_to_disk(self, shard: ArrowShard, batch: Batch) -> None:
        shard.add(batch)
