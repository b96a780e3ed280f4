"""`HDF5Converter` under the path that existing code imports it from."""

from shardwright.hdf5.converter import HDF5Converter

__all__ = ["HDF5Converter"]
