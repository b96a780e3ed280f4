"""The import paths of `shardwright.parquet` that existing code uses."""
