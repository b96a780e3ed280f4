"""`ParquetReader` under the path that existing code imports it from."""

from shardwright.parquet.reader import ParquetReader

__all__ = ["ParquetReader"]
