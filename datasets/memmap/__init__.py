"""The import paths of `shardwright.memmap` that existing code uses."""
