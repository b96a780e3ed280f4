"""`shardwright.training.loader` under the import path that existing code uses."""

from shardwright.training.loader import ThreadedLoader

__all__ = ["ThreadedLoader"]
