"""The decorator for training functions: alone, under torchrun, inside of an existing group."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed

from shardwright.base.errors import DistributedError
from shardwright.training.distributed import distributed, init_from_env

SCRIPT = """
import torch
import torch.distributed as dist
from shardwright.training.distributed import distributed

@distributed
def main():
    total = torch.tensor([dist.get_rank() + 1])
    dist.all_reduce(total)
    with open(f"rank-{dist.get_rank()}.txt", "w") as file:
        file.write(f"{dist.get_world_size()} {total.item()}")

main()
"""


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_alone_it_is_a_group_of_one_and_leaves_none_behind() -> None:
    @distributed
    def main(value: int) -> tuple[int, int]:
        return value, torch.distributed.get_world_size()

    assert main(7) == (7, 1)
    assert not torch.distributed.is_initialized()


def test_it_leaves_the_group_also_after_an_error() -> None:
    @distributed
    def main() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        main()
    assert not torch.distributed.is_initialized()


def test_an_existing_group_is_used_and_kept() -> None:
    init_from_env()
    try:
        assert distributed(torch.distributed.get_rank)() == 0
        assert torch.distributed.is_initialized()
    finally:
        torch.distributed.destroy_process_group()


def test_several_processes_without_an_address_say_how_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(DistributedError, match=r"MASTER_ADDR and MASTER_PORT.*scontrol"):
        init_from_env()


def test_torchrun_starts_it_on_two_processes(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "script.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    assert (tmp_path / "rank-0.txt").read_text() == (tmp_path / "rank-1.txt").read_text() == "2 3"
