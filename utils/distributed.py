"""`shardwright.training.distributed` under the import path that existing code uses."""

from shardwright.training.distributed import distributed, init_from_env, launched, local_rank

__all__ = ["distributed", "init_from_env", "launched", "local_rank"]
