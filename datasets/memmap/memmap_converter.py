"""`MemmapConverter` under the path that existing code imports it from."""

from shardwright.memmap.converter import MemmapConverter

__all__ = ["MemmapConverter"]
