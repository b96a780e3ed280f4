"""Rank and world size, from arguments, torch.distributed or the launcher's environment."""

import os

import torch.distributed

from datasets.base.errors import ConfigError, DistributedError

__all__ = ["rank_and_world"]

# In the order in which they are asked: launcher, rank, number of ranks.
LAUNCHERS = (
    ("torchrun", "RANK", "WORLD_SIZE"),
    ("SLURM", "SLURM_PROCID", "SLURM_NTASKS"),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)


def rank_and_world(dist: bool, rank: int | None, num_replicas: int | None) -> tuple[int, int]:
    """Return this process's rank and the number of ranks.

    Parameters
    ----------
    dist : bool
        Whether to look beyond the arguments at all.
    rank, num_replicas : int, optional
        What the user says; both or neither.

    Raises
    ------
    DistributedError
        If one is missing, out of range, or two sources contradict each other.
    """
    if (rank is None) != (num_replicas is None):
        raise DistributedError(f"rank={rank} and num_replicas={num_replicas}: give both or neither")
    if rank is not None and num_replicas is not None:
        return _checked("the arguments", rank, num_replicas)
    if not dist:
        return 0, 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    found = [(name, *_from_environment(name, r, w)) for name, r, w in LAUNCHERS if r in os.environ or w in os.environ]
    if not found:
        names = ", ".join(f"{r}/{w} ({name})" for name, r, w in LAUNCHERS)
        raise DistributedError(
            "dist=True, but no rank was found: give rank= and num_replicas=, initialise "
            f"torch.distributed, or start with a launcher that sets one of {names}"
        )
    return _checked(*found[0])


def _from_environment(launcher: str, rank_name: str, world_name: str) -> tuple[int, int]:
    values = []
    for name in (rank_name, world_name):
        text = os.environ.get(name)
        if text is None:
            raise DistributedError(f"{launcher}: {name} is not set, though its partner is; set both or neither")
        if not text.isdigit():
            raise DistributedError(f"{launcher}: {name}={text!r} is not a whole number")
        values.append(int(text))
    return values[0], values[1]


def _checked(origin: str, rank: int, world: int) -> tuple[int, int]:
    if type(rank) is not int or type(world) is not int:
        raise ConfigError(f"rank={rank!r} and num_replicas={world!r} must be whole numbers")
    if not 0 <= rank < world:
        raise DistributedError(f"{origin}: rank {rank} of {world} ranks; ranks go from 0 to {world - 1}")
    return rank, world
