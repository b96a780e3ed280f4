"""`ParquetConverter` under the path that existing code imports it from."""

from shardwright.parquet.converter import ParquetConverter

__all__ = ["ParquetConverter"]
