"""Run a training function on any number of processes, whoever started them.

``torchrun``, SLURM's ``srun`` and Open MPI's ``mpirun`` each tell a process its rank
in other variables. `distributed` reads them, joins the process group, runs the function
and leaves the group; started plainly, the same script is a group of one.
"""

import functools
import os
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import ParamSpec, TypeVar

import torch
import torch.distributed

from shardwright.base.errors import DistributedError
from shardwright.base.writing.ranks import LAUNCHERS, rank_and_world

__all__ = ["distributed", "init_from_env", "launched", "local_rank"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK")


def local_rank() -> int:
    """Return this process's number on its node, 0 without a launcher."""
    return next((int(os.environ[name]) for name in LOCAL_RANKS if name in os.environ), 0)


def launched() -> bool:
    """Whether a launcher started this process, as far as its environment says."""
    return any(name in os.environ for _, rank, world in LAUNCHERS for name in (rank, world))


def init_from_env(backend: str | None = None, timeout: timedelta = timedelta(minutes=30)) -> tuple[int, int]:
    """Join the process group that the launcher's environment describes.

    Parameters
    ----------
    backend : str, optional
        ``"nccl"`` with GPUs and ``"gloo"`` without, by default.
    timeout : timedelta
        Of collectives.

    Returns
    -------
    (int, int)
        Rank and number of ranks.

    Raises
    ------
    DistributedError
        If several processes were started and ``MASTER_ADDR`` or ``MASTER_PORT`` is missing.
    """
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    rank, world = rank_and_world(launched(), None, None)
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing and world > 1:
        raise DistributedError(
            f"{world} processes need {' and '.join(missing)}: torchrun sets them; in an sbatch script write "
            'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) MASTER_PORT=29500'
        )
    if missing:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    torch.distributed.init_process_group(
        backend or ("nccl" if on_gpu else "gloo"), rank=rank, world_size=world, timeout=timeout
    )
    return rank, world


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def distributed(main: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make `main` run inside of the process group of its launcher.

    A group that exists already is used and left alone.

    Examples
    --------
    >>> @distributed
    ... def main(message: str) -> str:
    ...     return f"{message} {torch.distributed.get_rank()}"
    >>> main("rank")
    'rank 0'
    """

    @functools.wraps(main)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.distributed.is_initialized():
            return main(*args, **kwargs)
        init_from_env()
        try:
            return main(*args, **kwargs)
        finally:
            torch.distributed.destroy_process_group()

    return run
