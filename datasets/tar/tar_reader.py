"""`TarReader` under the path that existing code imports it from."""

from shardwright.tar.reader import TarReader

__all__ = ["TarReader"]
