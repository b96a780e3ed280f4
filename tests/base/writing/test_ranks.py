"""Many processes convert one split: any launcher, any number, and whatever happens to them, the bytes are the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.distributed

from shardwright.base.errors import DistributedError, IncompleteDatasetError, LockedError, PlanMismatchError
from shardwright.base.reader import open_reader
from shardwright.base.split.paths import SplitPaths
from shardwright.base.writing.finish import finalize
from shardwright.base.writing.lock import split_lock
from shardwright.base.writing.ranks import rank_and_world
from shardwright.parquet.converter import ParquetConverter
from tests.conformance.tools import encoded, hashes, picture

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "imagenet1k" / "convert.py"
REAL = ROOT.parent / "shared" / "data" / "imagenet-sample"
LAUNCHER_VARIABLES = (
    "RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT TORCHELASTIC_RUN_ID SLURM_PROCID SLURM_NTASKS SLURM_JOB_ID "
    "SLURM_STEP_ID SLURM_LOCALID OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE"
).split()

# Imports once, then forks: 300 processes in seconds.
FORKED_RANKS = """
import os, sys, traceback
from shardwright.parquet.converter import ParquetConverter

source, output, world, per_file = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
children = []
for rank in reversed(range(world)):
    if not (child := os.fork()):
        try:
            options = dict(images_per_file=per_file, num_workers=0, rank=rank, num_replicas=world, wait_timeout=120)
            assert ParquetConverter(source, output, **options).convert().split == "train"
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""

# A rank that takes its time, as a rank of a real conversion does.
SLOW_RANK = """
import sys, time
from shardwright.parquet.converter import ParquetConverter
from shardwright.folders.source import FolderSource

class Slow(FolderSource):
    def __getitem__(self, index):
        time.sleep(0.05)
        return super().__getitem__(index)

source, output, rank, world = sys.argv[1:]
options = dict(images_per_file=2, num_workers=0, rank=int(rank), num_replicas=int(world), wait_timeout=2)
ParquetConverter(Slow(source), output, **options).convert()
"""


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images in 4 classes."""
    root = tmp_path_factory.mktemp("input") / "photos"
    for number in range(48):
        path = root / f"class-{number % 4}" / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number, size=(20 + number % 7, 24)), "JPEG"))
    return root


@pytest.fixture(scope="module")
def wanted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, str]]:
    """The hashes of all files as one process writes them, with so many images per file."""
    known: dict[int, dict[str, str]] = {}

    def of(per_file: int) -> dict[str, str]:
        if per_file not in known:
            output = tmp_path_factory.mktemp("wanted")
            ParquetConverter(photos, output, images_per_file=per_file, num_workers=0).convert()
            known[per_file] = hashes(output)
        return known[per_file]

    return of


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """End what a failed test has left."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
        process.communicate()


def python(*arguments: object) -> subprocess.Popen[str]:
    """Start Python with this checkout's library."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    STARTED.append(process)
    return process


def end(process: subprocess.Popen[str], code: int | None = 0) -> str:
    """Wait for a process, check its exit code and return what it printed as an error."""
    _, error = process.communicate(timeout=240)
    assert code is None or process.returncode == code, f"ended with {process.returncode}\n{error}"
    return error


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for does not happen"
        time.sleep(0.01)


def parts(output: Path) -> list[Path]:
    return list((output / "metadata").glob(".train.part-*[0-9]"))


@pytest.mark.parametrize("world", [1, 2, 3, 5, 8, 300])
def test_any_number_of_ranks_writes_the_same_bytes(photos: Path, wanted: Any, tmp_path: Path, world: int) -> None:
    end(python("-c", FORKED_RANKS, photos, tmp_path / "out", world, 5))
    assert hashes(tmp_path / "out") == wanted(5)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real photographs at {REAL}")
def test_photographs_become_the_same_bytes_by_any_number_of_ranks(tmp_path: Path) -> None:
    found = []
    for world in (1, 3, 300):
        end(python("-c", FORKED_RANKS, REAL, tmp_path / "out", world, 16))
        found.append(hashes(tmp_path / "out"))
        subprocess.run(["rm", "-r", tmp_path / "out"], check=True)
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 13 + 2


def torchrun(*options: object) -> subprocess.Popen[str]:
    return python("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options)


def test_torchrun_writes_the_same_bytes(photos: Path, wanted: Any, tmp_path: Path) -> None:
    output = tmp_path / "out"
    end(torchrun(EXAMPLE, "--train", photos, "--output-path", output, "--images-per-file", 5))
    assert hashes(output) == wanted(5)


def test_plain_arguments_write_the_same_bytes(photos: Path, wanted: Any, tmp_path: Path) -> None:
    common = (EXAMPLE, "--train", photos, "--output-path", tmp_path / "out", "--images-per-file", 5)
    for process in [python(*common, "--rank", rank, "--num-replicas", 2) for rank in range(2)]:
        end(process)
    assert hashes(tmp_path / "out") == wanted(5)


def test_elastic_restarts_go_on_where_the_killed_ranks_stopped(photos: Path, wanted: Any, tmp_path: Path) -> None:
    output, script = tmp_path / "out", tmp_path / "script.py"
    script.write_text(SLOW_RANK.replace("sys.argv[1:]", "(*sys.argv[1:], os.environ['RANK'], 2)").replace(
        "import sys", "import os, sys"))  # fmt: skip
    process = torchrun("--max-restarts=1", script, photos, output)
    lock = output / "metadata" / ".train.lock-1"
    wait_for(lambda: len(parts(output)) >= 4 and lock.exists() and lock.read_text())
    kept = {part: part.stat().st_ino for part in parts(output)}
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
    wait_for(lambda: process.poll() is not None or len(parts(output)) > len(kept) + 1)
    still = {part: part.stat().st_ino for part in parts(output)}
    assert process.poll() is not None or kept.items() <= still.items(), "a finished shard was written again"
    end(process)
    assert hashes(output) == wanted(2)


def start_slow(photos: Path, output: Path, world: int) -> list[subprocess.Popen[str]]:
    ranks = [python("-c", SLOW_RANK, photos, output, rank, world) for rank in range(world)]
    locks = [output / "metadata" / f".train.lock-{rank}" for rank in range(world)]
    wait_for(lambda: all(lock.exists() for lock in locks) and len(parts(output)) >= 3)
    return ranks


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_rank_leaves_nothing_that_opens_and_others_name_the_missing_shards(
    photos: Path, wanted: Any, tmp_path: Path, lost: int
) -> None:
    """Faults 79, 80: also rank 0; the resume is by another number of ranks."""
    output = tmp_path / "out"
    ranks = start_slow(photos, output, 2)
    ranks[lost].kill()
    end(ranks[lost], -signal.SIGKILL)
    told = end(ranks[1 - lost], 1)
    missing = [k for k in range(24) if not SplitPaths(output, "train").part(k).exists()]
    assert missing
    assert {k % 2 for k in missing} == {lost}
    assert f"lacks {len(missing)} shards: {', '.join(map(str, missing[:20]))}" in told
    assert "have other ranks ended?" in told
    with pytest.raises(IncompleteDatasetError, match="not finished"):
        open_reader(output)
    end(python("-c", FORKED_RANKS, photos, output, 3, 2))
    assert hashes(output) == wanted(2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_preempted_conversion_ends_with_an_error_and_goes_on(
    photos: Path, wanted: Any, tmp_path: Path, number: signal.Signals
) -> None:
    """Fault 52, for the example; it stops while it waits for a rank that never comes."""
    output = tmp_path / "out"
    common = (EXAMPLE, "--train", photos, "--output-path", output, "--images-per-file", 2)
    process = python(*common, "--rank", 0, "--num-replicas", 2)
    wait_for(lambda: len(parts(output)) >= 2)
    process.send_signal(number)
    assert "run the same command again" in end(process, 128 + number)
    with pytest.raises(IncompleteDatasetError, match="not finished"):
        open_reader(output)
    end(python(*common))
    assert hashes(output) == wanted(2)


def test_a_second_process_with_the_same_rank_is_kept_out(photos: Path, tmp_path: Path) -> None:
    """Fault 84; and 87: a job of another number of ranks."""
    with split_lock(SplitPaths(tmp_path, "train"), 0, 1):
        for rank, world, message in ((0, 1, "two processes of the job are rank 0"), (0, 2, "is writing this split")):
            with pytest.raises(LockedError, match=message):
                ParquetConverter(photos, tmp_path, 2, rank=rank, num_replicas=world, wait_timeout=1).convert()
        data = [(picture(n), n) for n in range(3)]
        with pytest.raises(LockedError, match=r"lock-0 is held: process \d+ on .* is writing this split"):
            ParquetConverter(data, tmp_path, 2, num_workers=0, rank=1, num_replicas=2, wait_timeout=1).convert()
    assert not list((tmp_path / "data").iterdir())


def test_a_rank_that_comes_late_finds_the_published_split(photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"images_per_file": 24, "num_workers": 0, "num_replicas": 4, "wait_timeout": 5}
    ranks = [ParquetConverter(photos, tmp_path, rank=rank, **options) for rank in range(3)]
    ranks[0].wait = False
    assert ranks[0].convert() is None
    manifest = ranks[1].convert()
    assert manifest == ranks[2].convert() == ParquetConverter(photos, tmp_path, rank=3, **options).convert()


def test_a_split_is_replaced_once_all_ranks_have_come(photos: Path, wanted: Any, tmp_path: Path) -> None:
    """Also those without a shard of their own."""
    ParquetConverter(photos, tmp_path, 12, num_workers=0).convert()
    options: dict[str, Any] = {"images_per_file": 24, "num_workers": 0, "num_replicas": 4, "overwrite": True}
    for rank in range(2):
        assert ParquetConverter(photos, tmp_path, rank=rank, wait=False, **options).convert() is None
    with pytest.raises(IncompleteDatasetError, match=r"ranks 3 have not come in 0 s.*shardwright finalize"):
        ParquetConverter(photos, tmp_path, rank=2, wait_timeout=0.2, **options).convert()
    assert len(open_reader(tmp_path).manifest.shards) == 4  # still the old one
    assert ParquetConverter(photos, tmp_path, rank=3, **options).convert() is not None
    assert hashes(tmp_path) == wanted(24)


def test_finalize_replaces_a_split_as_the_message_of_a_missing_rank_says(
    photos: Path, wanted: Any, tmp_path: Path
) -> None:
    ParquetConverter(photos, tmp_path, 12, num_workers=0).convert()
    options: dict[str, Any] = {"num_workers": 0, "num_replicas": 3, "overwrite": True, "wait": False}
    ParquetConverter(photos, tmp_path, 24, rank=0, **options).convert()
    with pytest.raises(IncompleteDatasetError, match="lacks 1 shards: 1;"):
        finalize(tmp_path)
    assert len(open_reader(tmp_path).manifest.shards) == 4  # still the old one
    ParquetConverter(photos, tmp_path, 24, rank=1, **options).convert()
    assert len(finalize(tmp_path).shards) == 2
    assert hashes(tmp_path) == wanted(24)
    assert len(finalize(tmp_path).shards) == 2


def test_without_rank_0_the_others_say_what_they_waited_for(photos: Path, tmp_path: Path) -> None:
    converter = ParquetConverter(photos, tmp_path, rank=1, num_replicas=2, num_workers=0, wait_timeout=0.2)
    with pytest.raises(DistributedError, match=r"\.train\.listing did not appear within 0 s: rank 0 writes it"):
        converter.convert()
    data = [(picture(n), n) for n in range(3)]
    converter = ParquetConverter(data, tmp_path, rank=1, num_replicas=2, num_workers=0, wait_timeout=0.2)
    with pytest.raises(DistributedError, match=r"\.train\.plan\.json did not appear"):
        converter.convert()


def test_a_rank_with_other_input_or_options_is_told(tmp_path: Path) -> None:
    """Fault 76."""
    data = [(picture(n), n) for n in range(6)]
    options: dict[str, Any] = {"num_workers": 0, "num_replicas": 2, "wait": False}
    ParquetConverter(data, tmp_path, 2, rank=0, **options).convert()
    with pytest.raises(DistributedError, match=r"rank 1 sees other input than rank 0 did: .*num_samples is 5"):
        ParquetConverter(data[:5], tmp_path, 2, rank=1, **options).convert()
    with pytest.raises(PlanMismatchError, match="images_per_file is 3 now and was 2"):
        ParquetConverter(data, tmp_path, 3, rank=1, **options).convert()
    assert ParquetConverter(data, tmp_path, 2, rank=1, **options).convert() is not None


def test_files_that_a_file_server_shows_late_are_waited_for(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults 76, 82: a name is believed to be there once a listing of its folder has it."""
    options: dict[str, Any] = {"images_per_file": 12, "num_workers": 0, "num_replicas": 2, "wait_timeout": 30}
    ParquetConverter(photos, tmp_path, rank=0, wait=False, **options).convert()
    listdir, calls = os.listdir, []

    def late(folder: Any) -> list[str]:
        calls.append(folder)
        names = listdir(folder)
        return names if len(calls) > 5 else [name for name in names if "listing" not in name]

    monkeypatch.setattr(os, "listdir", late)
    manifest = ParquetConverter(photos, tmp_path, rank=1, **options).convert()
    assert manifest is not None
    assert len(calls) > 5


SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}
ENV = {"RANK": "3", "WORLD_SIZE": "4"}
TORCHRUN = ENV | {"TORCHELASTIC_RUN_ID": "x"}
MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (SLURM, (1, 2)),
        (MPI, (1, 2)),
        (SLURM | MPI, (1, 2)),
        (TORCHRUN | SLURM, (3, 4)),  # SLURM counts nodes then
        (TORCHRUN | SLURM | {"SLURM_NTASKS": "3"}, (3, 4)),
        (TORCHRUN | BATCH, (3, 4)),
        (ENV | SLURM, (3, 4)),  # another launcher that starts two processes per task
        (ENV | {"RANK": "1", "WORLD_SIZE": "2"} | SLURM, (1, 2)),
        (MPI | BATCH, (1, 2)),
    ],
)
def test_the_launchers_that_agree(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Any) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert rank_and_world(True, None, None) == expected
    assert rank_and_world(True, *expected) == expected
    assert rank_and_world(False, 5, 7) == (5, 7)
    assert rank_and_world(False, None, None) == (0, 1)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (SLURM | {"RANK": "0", "WORLD_SIZE": "2"}, r"torchrun: rank 0 of 2; SLURM: rank 1 of 2"),
        (SLURM | {"RANK": "0", "WORLD_SIZE": "1"}, r"torchrun: rank 0 of 1; SLURM: rank 1 of 2"),
        (SLURM | MPI | {"OMPI_COMM_WORLD_SIZE": "3"}, r"SLURM: rank 1 of 2; Open MPI: rank 1 of 3"),
        (BATCH, r"the batch script of a job of 2 tasks.*srun"),
        ({"SLURM_NTASKS": "2"}, r"SLURM_PROCID is not set.*srun"),
        ({"RANK": "1"}, r"WORLD_SIZE is not set"),
        ({"RANK": "\u0661", "WORLD_SIZE": "2"}, r"RANK='\u0661' is not a whole number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, r"rank 2 of 2 ranks"),
        ({}, r"no rank was found"),
    ],
)
def test_the_launchers_that_do_not(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DistributedError, match=message):
        rank_and_world(True, None, None)


def test_arguments_that_contradict_the_launcher_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DistributedError, match=r"rank= and num_replicas=: rank 0 of 2; SLURM: rank 1 of 2"):
        rank_and_world(True, 0, 2)
    assert rank_and_world(False, 0, 2) == (0, 2)
    with pytest.raises(DistributedError, match="give both or neither"):
        rank_and_world(True, 0, None)


def test_a_process_group_and_the_environment_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    assert rank_and_world(True, None, None) == (3, 4)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert rank_and_world(True, None, None) == (3, 4)  # each task has started two
    monkeypatch.setenv("SLURM_NTASKS", "3")
    with pytest.raises(DistributedError, match=r"torch\.distributed: rank 3 of 4; SLURM: rank 1 of 3"):
        rank_and_world(True, None, None)
    monkeypatch.delenv("SLURM_STEP_ID")  # the batch script's own variables count nothing
    assert rank_and_world(True, None, None) == (3, 4)
