"""`convert --estimate`: the size that a conversion would have."""

from pathlib import Path

from shardwright.base.formats import format_names
from shardwright.base.open_source import open_source
from shardwright.cli.estimate import estimate
from tests.cli.commands import Run


def test_estimate_predicts_and_writes_nothing(photos: Path, out: Path, run: Run) -> None:
    code, printed, _ = run("convert", photos, out, "--estimate", "--images-per-file", 5)
    assert code == 0
    assert [line.split()[0] for line in printed.splitlines()[1:]] == format_names()
    assert not out.exists()
    printed = run("convert", photos, out, "--estimate", "--format", "tar")[1]
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["tar"]


def test_estimate_is_near_the_truth(photos: Path, out: Path, run: Run) -> None:
    predicted = estimate(open_source(photos), "memmap", {"shape": (40, 40), "dist": True}).nbytes
    run("convert", photos, out, "--format", "memmap", "--shape", "40x40", "--num-workers", 0)
    true = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert abs(predicted / true - 1) < 0.1
