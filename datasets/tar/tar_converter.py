"""`TarConverter` under the path that existing code imports it from."""

from shardwright.tar.converter import TarConverter

__all__ = ["TarConverter"]
