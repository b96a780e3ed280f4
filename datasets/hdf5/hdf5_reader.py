"""`HDF5Reader` under the path that existing code imports it from."""

from shardwright.hdf5.reader import HDF5Reader

__all__ = ["HDF5Reader"]
