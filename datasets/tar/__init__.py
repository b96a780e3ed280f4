"""The import paths of `shardwright.tar` that existing code uses."""
