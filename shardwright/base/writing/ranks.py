"""Rank and world size, from arguments, torch.distributed or the launcher's environment.

Several of them may speak at once: torchrun inside of an ``srun`` allocation, a process group that
was made by hand. The first one that speaks is believed, and the others must not contradict it.
"""

import os
from dataclasses import dataclass, field

import torch.distributed

from shardwright.base.errors import ConfigError, DistributedError

__all__ = ["LAUNCHERS", "rank_and_world"]

# In the order in which they are asked: launcher, rank, number of ranks.
LAUNCHERS = (
    ("torchrun", "RANK", "WORLD_SIZE"),
    ("SLURM", "SLURM_PROCID", "SLURM_NTASKS"),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one source says of this process."""

    origin: str = field(compare=False)
    rank: int
    world: int

    def __post_init__(self) -> None:
        if type(self.rank) is not int or type(self.world) is not int:
            raise ConfigError(f"rank={self.rank!r} and num_replicas={self.world!r} must be whole numbers")
        if not 0 <= self.rank < self.world:
            raise DistributedError(f"{self} ranks; ranks go from 0 to {self.world - 1}")

    def __str__(self) -> str:
        return f"{self.origin}: rank {self.rank} of {self.world}"

    def agrees(self, outer: "_Claim") -> bool:
        """Whether `outer` says the same, or counts processes that each started several like this one."""
        nested = self.world > outer.world and self.world % outer.world == 0
        return nested or self == outer


def rank_and_world(dist: bool, rank: int | None, num_replicas: int | None) -> tuple[int, int]:
    """Return this process's rank and the number of ranks.

    Asked are, in this order: the arguments, an initialised process group, and the
    variables of torchrun, SLURM and Open MPI.
    """
    if (rank is None) != (num_replicas is None):
        raise DistributedError(f"rank={rank} and num_replicas={num_replicas}: give both or neither")
    given = None
    if rank is not None and num_replicas is not None:
        given = _Claim("the arguments rank= and num_replicas=", rank, num_replicas)
    claims = _claims() if dist else []
    if given and claims and given != claims[0]:
        raise _contradiction(given, claims[0], "leave the arguments out, or leave dist=True out")
    for claim in claims[1:]:
        if not claims[0].agrees(claim):
            mend = "unset the variables that are wrong, or give rank= and num_replicas="
            raise _contradiction(claims[0], claim, mend)
    if dist and not given and not claims:
        names = ", ".join(f"{r}/{w} ({name})" for name, r, w in LAUNCHERS)
        raise DistributedError(
            "dist=True, but no rank was found: give rank= and num_replicas=, initialise "
            f"torch.distributed, or start with a launcher that sets one of {names}"
        )
    first = next(claim for claim in (given, *claims, _Claim("one process", 0, 1)) if claim)
    return first.rank, first.world


def _contradiction(a: _Claim, b: _Claim, mend: str) -> DistributedError:
    return DistributedError(f"this process is two different ranks ({a}; {b}); {mend}")


def _claims() -> list[_Claim]:
    """Return what a process group and the launchers say, the first one first."""
    group = []
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        group = [_Claim("torch.distributed", torch.distributed.get_rank(), torch.distributed.get_world_size())]
    present = [(name, r, w) for name, r, w in LAUNCHERS if r in os.environ or w in os.environ]
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun itself runs under the other launcher, which counts nodes then, in an order of its own.
        present = [launcher for launcher in present if launcher[0] == "torchrun"]
    elif _is_batch_script() and len(group) + len(present) > 1:
        present = [launcher for launcher in present if launcher[0] != "SLURM"]
    return [*group, *(_from_environment(*launcher) for launcher in present)]


def _is_batch_script() -> bool:
    """Whether SLURM started this process as the one script of a job, not as one of its tasks."""
    return "SLURM_JOB_ID" in os.environ and "SLURM_STEP_ID" not in os.environ


def _from_environment(launcher: str, rank_name: str, world_name: str) -> _Claim:
    values = []
    for name in (rank_name, world_name):
        text = os.environ.get(name)
        if text is None:
            srun = "; start it with srun, which does" if launcher == "SLURM" else ""
            raise DistributedError(f"{launcher}: {name} is not set, though its partner is; set both or neither{srun}")
        if not (text.isascii() and text.isdigit()):
            raise DistributedError(f"{launcher}: {name}={text!r} is not a whole number")
        values.append(int(text))
    if launcher == "SLURM" and values[1] > 1 and _is_batch_script():
        raise DistributedError(
            f"SLURM: this is the batch script of a job of {values[1]} tasks, and none of the tasks; "
            "start the program with srun inside of the script"
        )
    return _Claim(launcher, values[0], values[1])
