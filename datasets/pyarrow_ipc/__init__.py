"""The import paths of `shardwright.pyarrow_ipc` that existing code uses."""
