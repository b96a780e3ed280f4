"""The import paths of `shardwright.hdf5` that existing code uses."""
