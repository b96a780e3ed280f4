"""The ImageNet-1k example: archives in, splits out, and a training that goes on where it stopped."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from shardwright.base.reader import open_reader
from shardwright.parquet.converter import ParquetConverter
from shardwright.tar.imagenet import imagenet_validation
from tests.conformance.tools import encoded, hashes, picture
from tests.folders.test_imagenet import add, class_table, validation_archive

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "imagenet1k"


def start(script: str, *arguments: object, torchrun: int = 0) -> subprocess.Popen[str]:
    """Start a script of the example, as one process or under torchrun."""
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={torchrun}") if torchrun else ()
    command = [sys.executable, *launcher, str(EXAMPLE / script), *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "RANK", "WORLD_SIZE"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(script: str, *arguments: object, torchrun: int = 0, code: int = 0) -> str:
    process = start(script, *arguments, torchrun=torchrun)
    output, error = process.communicate(timeout=240)
    assert process.returncode == code, f"ended with {process.returncode}\n{output}\n{error}"
    return output + error


def training_archive(folder: Path) -> Path:
    """A tar of class tars, as ILSVRC2012_img_train.tar is."""
    path = folder / "train.tar"
    with tarfile.open(path, "w") as archive:
        for wnid in ("n01", "n02", "n03"):
            with tarfile.open(folder / f"{wnid}.tar", "w") as inner:
                for number in range(8):
                    image = picture(number, size=(40, 40)).point(lambda v, n=int(wnid[1:]): v // 4 + 48 * n)
                    add(inner, f"{wnid}_{number}.JPEG", encoded(image, "JPEG"))
            archive.add(folder / f"{wnid}.tar", arcname=f"{wnid}.tar")
    return path


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    training_archive(folder)
    validation_archive(folder)
    with tarfile.open(folder / "devkit.tar.gz", "w:gz") as archive:
        add(archive, "devkit/data/meta.mat", class_table())
        add(archive, "devkit/data/ILSVRC2012_validation_ground_truth.txt", b"2\n1\n2\n3\n")
    return folder


@pytest.fixture(scope="module")
def converted(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both splits, from the archives, by two ranks of torchrun."""
    output = tmp_path_factory.mktemp("converted") / "out"
    validation = ("--validation", archives / "val-4.tar", "--devkit", archives / "devkit.tar.gz")
    arguments = ("--train", archives / "train.tar", *validation, "--output-path", output, "--images-per-file", 5)
    printed = run("convert.py", *arguments, torchrun=2)
    assert printed.count("train: 24 images in 5 shards, published") == 2
    return output


def test_archives_become_both_splits_with_the_same_classes(archives: Path, converted: Path, tmp_path: Path) -> None:
    train, validation = (open_reader(converted, split=split) for split in ("train", "validation"))
    assert train.classes == validation.classes == ["n01", "n02", "n03"]
    assert validation.targets.tolist() == [0, 0, 1, 2]
    for wnid in train.classes:
        with tarfile.open(archives / f"{wnid}.tar") as archive:
            archive.extractall(tmp_path / "unpacked" / wnid, filter="data")
    ParquetConverter(tmp_path / "unpacked", tmp_path / "out", 5, num_workers=0).convert()
    source = imagenet_validation(archives / "val-4.tar", archives / "devkit.tar.gz")
    ParquetConverter(source, tmp_path / "out", 5, num_workers=0, split="validation").convert()
    assert hashes(tmp_path / "out") == hashes(converted)


def test_a_wrong_call_says_what_is_missing(archives: Path, tmp_path: Path) -> None:
    assert "give --train, --validation or both" in run("convert.py", "--output-path", tmp_path / "o", code=2)
    told = run("convert.py", "--train", tmp_path / "nowhere", "--output-path", tmp_path / "o", code=1)
    assert "InputError" in told
    assert "nowhere does not exist" in told


OPTIONS = ("--batch-size", 8, "--image-size", 32, "--num-workers", 1, "--learning-rate", 0.002, "--epochs", 2)


def losses_and_samples(log: Path) -> list[tuple[int, int, list[int]]]:
    lines = map(json.loads, log.read_text().splitlines())
    return [(line["epoch"], line["step"], line["samples"]) for line in lines]


def test_two_ranks_are_stopped_and_one_goes_on_with_the_rest(converted: Path, tmp_path: Path) -> None:
    def places(name: str) -> tuple[object, ...]:
        return ("--checkpoint", tmp_path / f"{name}.pt", "--step-log", tmp_path / f"{name}.jsonl")

    run("train.py", converted, *OPTIONS, *places("whole"))
    run("train.py", converted, *OPTIONS, *places("parts"), "--max-steps", 2, torchrun=2)
    run("train.py", converted, *OPTIONS, *places("parts"))
    whole = losses_and_samples(tmp_path / "whole.jsonl")
    assert len(whole) == 6
    assert [sorted(n for e, _, samples in whole if e == epoch for n in samples) for epoch in (0, 1)] == [
        [*range(24)]
    ] * 2
    assert losses_and_samples(tmp_path / "parts.jsonl") == whole


def test_a_preempted_training_saves_its_place_and_ends_with_an_error(converted: Path, tmp_path: Path) -> None:
    log, checkpoint = tmp_path / "log.jsonl", tmp_path / "c.pt"
    places = ("--checkpoint", checkpoint, "--step-log", log, "--epochs", 10_000)
    process = start("train.py", converted, *OPTIONS, *places)
    deadline = time.monotonic() + 120
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGUSR1, error
    before = losses_and_samples(log)
    run("train.py", converted, *OPTIONS, *places, "--max-steps", len(before) + 1)
    assert [step for _, step, _ in losses_and_samples(log)] == list(range(1, len(before) + 2))
