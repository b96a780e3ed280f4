"""The example's training script under a real SLURM: gloo ranks on two nodes, on CPUs."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from shardwright.parquet.converter import ParquetConverter
from tests.slurm.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "imagenet1k" / "train.sbatch"
STEPS = 12


@pytest.fixture(scope="module")
def data(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    ParquetConverter(photos, path, images_per_file=10, num_workers=0).convert()
    return path


def train(cluster: Cluster, data: Path, folder: Path, nodes: int, tasks: int, steps: int = STEPS) -> list[Any]:
    """Submit the script, wait for it, and return the lines of its log."""
    options = f"--batch-size 24 --image-size 32 --num-workers 0 --learning-rate 0.002 --epochs 6 --max-steps {steps}"
    variables = {
        "DATA": str(data),
        "CHECKPOINT": str(folder / "checkpoint.pt"),
        "GPUS_PER_NODE": "",
        "TRAIN_OPTIONS": f"{options} --step-log {folder / 'steps.jsonl'}",
        "PYTHON": sys.executable,
        "REPO": str(ROOT),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    size = (f"--nodes={nodes}", f"--ntasks-per-node={tasks}", f"--chdir={folder}")
    job = cluster.submit("sbatch", "--parsable", *size, SCRIPT, **variables)
    ended = cluster.ended(job)
    logs = "\n".join(path.read_text() for path in folder.glob("*.log"))
    assert "JobState=COMPLETED" in ended, f"{ended}\n{logs}\n{cluster.logs()}"
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def samples(log: list[Any]) -> list[Any]:
    return [(line["epoch"], line["step"], line["samples"]) for line in log]


@pytest.fixture(scope="module")
def alone(cluster: Cluster, data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The log of a training by one rank."""
    return train(cluster, data, tmp_path_factory.mktemp("alone"), 1, 1)


@pytest.mark.parametrize("tasks", [1, 2])
def test_ranks_on_two_nodes_train_on_the_batches_of_one_rank_and_the_loss_falls(
    cluster: Cluster, data: Path, alone: list[Any], tmp_path: Path, tasks: int
) -> None:
    log = train(cluster, data, tmp_path, 2, tasks)
    losses = [line["loss"] for line in log]
    assert len(losses) == STEPS
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4]), losses
    assert samples(log) == samples(alone)
    assert sorted(n for line in log if line["epoch"] == 0 for n in line["samples"]) == list(range(48))


def test_a_stopped_training_goes_on_with_another_number_of_ranks(
    cluster: Cluster, data: Path, alone: list[Any], tmp_path: Path
) -> None:
    train(cluster, data, tmp_path, 2, 1, steps=4)
    assert samples(train(cluster, data, tmp_path, 1, 1)) == samples(alone)
