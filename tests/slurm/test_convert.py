"""The example's conversion script under a real SLURM: two nodes, lost ranks, preemption."""

import os
import sys
from pathlib import Path

import pytest

from shardwright.base.errors import IncompleteDatasetError
from shardwright.base.reader import open_reader
from shardwright.parquet.converter import ParquetConverter
from tests.conformance.tools import hashes
from tests.slurm.cluster import Cluster, wait_until

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "imagenet1k" / "convert.sbatch"


def settings(photos: Path, output: Path, per_file: int = 5) -> dict[str, str]:
    """What a user writes at the top of the script."""
    return {
        "TRAIN": str(photos),
        "VALIDATION": "",
        "OUTPUT": str(output),
        "IMAGES_PER_FILE": str(per_file),
        "PYTHON": sys.executable,
        "REPO": str(ROOT),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def wanted(photos: Path, output: Path, per_file: int = 5) -> dict[str, str]:
    ParquetConverter(photos, output, images_per_file=per_file, num_workers=0).convert()
    return hashes(output)


def log_of(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))


def test_two_nodes_write_the_bytes_that_one_process_writes(cluster: Cluster, photos: Path, tmp_path: Path) -> None:
    options = ("--nodes=2", "--ntasks-per-node=2", f"--chdir={tmp_path}")
    done = cluster.run("sbatch", "--wait", *options, SCRIPT, **settings(photos, tmp_path / "out"))
    assert done.returncode == 0, f"{done.stderr}\n{log_of(tmp_path)}\n{cluster.logs()}"
    assert log_of(tmp_path).count("train: 48 images in 10 shards, published") == 4
    assert hashes(tmp_path / "out") == wanted(photos, tmp_path / "alone")


def test_the_script_submits_itself_to_the_account_and_partition_at_its_top(
    cluster: Cluster, photos: Path, tmp_path: Path
) -> None:
    variables = settings(photos, tmp_path / "out") | {"ACCOUNT": "group7", "PARTITION": "test"}
    options = ("--parsable", "--nodes=1", "--ntasks-per-node=2", f"--chdir={tmp_path}")
    shown = cluster.ended(cluster.submit("bash", SCRIPT, *options, **variables))
    assert "JobState=COMPLETED" in shown, log_of(tmp_path)
    assert "Account=group7" in shown
    assert "Partition=test" in shown
    assert hashes(tmp_path / "out") == wanted(photos, tmp_path / "alone")


def submit_slowly(cluster: Cluster, photos: Path, folder: Path) -> str:
    """Start a job with a shard per image, and return its number once some are written."""
    options = ("--parsable", "--nodes=2", "--ntasks-per-node=1", f"--chdir={folder}")
    variables = settings(slowed(photos, folder), folder / "out", per_file=1)
    job = cluster.submit("sbatch", *options, SCRIPT, **variables)
    wait_until(lambda: len(list((folder / "out").glob("metadata/.train.part-*[0-9]"))) >= 4, "no shard", cluster.logs)
    return job


def slowed(photos: Path, folder: Path) -> Path:
    """Many files, so that a job does not end before it can be stopped."""
    many = folder / "many"
    for number, path in enumerate([*sorted(photos.rglob("*.jpg"))] * 10):
        copy = many / path.parent.name / f"{number:04d}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, copy)
    return many


@pytest.mark.parametrize("how", ["step killed", "job killed", "preempted"])
def test_a_stopped_job_leaves_nothing_that_opens_and_another_world_goes_on(
    cluster: Cluster, photos: Path, tmp_path: Path, how: str
) -> None:
    job = submit_slowly(cluster, photos, tmp_path)
    target = {"step killed": f"{job}.0", "job killed": job, "preempted": f"{job}.0"}[how]
    signal = "USR1" if how == "preempted" else "KILL"
    assert cluster.run("scancel", f"--signal={signal}", target).returncode == 0
    assert "JobState=COMPLETED" not in cluster.ended(job)
    output = tmp_path / "out"
    with pytest.raises(IncompleteDatasetError, match="not finished"):
        open_reader(output)
    if how != "job killed":  # then the script is there to tell
        assert "split 'train' lacks" in log_of(tmp_path)
    if how == "preempted":
        assert "stopped by SIGUSR1: run the same command again" in log_of(tmp_path)
    kept = {path: path.stat().st_ino for path in (output / "data").glob("*.parquet")}
    again = ("--parsable", "--nodes=1", "--ntasks-per-node=3", f"--chdir={tmp_path}")
    job = cluster.submit("sbatch", *again, SCRIPT, **settings(tmp_path / "many", output, per_file=1))
    assert "JobState=COMPLETED" in cluster.ended(job), log_of(tmp_path)
    assert len(open_reader(output)) == 480
    unchanged = [path for path, inode in kept.items() if path.stat().st_ino == inode]
    assert len(unchanged) >= len(kept) - 2
    if how == "preempted":
        assert hashes(output) == wanted(tmp_path / "many", tmp_path / "alone", per_file=1)
