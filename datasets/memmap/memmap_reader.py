"""`MemmapReader` under the path that existing code imports it from."""

from shardwright.memmap.reader import MemmapReader

__all__ = ["MemmapReader"]
