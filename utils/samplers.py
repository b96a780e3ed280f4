"""`shardwright.training.samplers` under the import path that existing code uses."""

from shardwright.training.samplers import GlobalSampler, block_order

__all__ = ["GlobalSampler", "block_order"]
