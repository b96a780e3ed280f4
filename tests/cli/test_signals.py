"""Signals: a conversion stops at once, and the next run goes on."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import ROOT, Run, convert
from tests.conformance.tools import hashes

INTERRUPTING = """
import os, signal, sys
from shardwright.cli.main import main
from shardwright.folders.source import FolderSource

read = FolderSource.__getitem__
main_process = os.getpid()

def interrupted(self, index):
    if index == 4:
        os.kill(main_process, signal.{signal})
    return read(self, index)

FolderSource.__getitem__ = interrupted
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGUSR1", 138), ("SIGINT", 130)])
def test_a_signal_stops_a_conversion_that_can_go_on(
    name: str, code: int, workers: int, photos: Path, tmp_path: Path, run: Run
) -> None:
    """Fault 52."""
    out = tmp_path / "out"
    arguments = ["convert", photos, out, "--format", "tar", "--images-per-file", 2, "--batch-size", 1]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING.format(signal=name), *map(str, arguments), "--num-workers", str(workers)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    line = f"shardwright: stopped by {name}; what is finished is kept: run the same command again to go on\n"
    # A worker process whose message nobody took may say so on its way out.
    assert line in done.stderr if workers else line == done.stderr, done.stderr
    assert not (out / "metadata/train.json").exists()
    code, printed, _ = run(*arguments, "--num-workers", 0)
    assert code == 0
    if workers == 0:  # worker processes read ahead, so sample 4 comes before the first shard is finished
        assert "images were there from an earlier run" in printed
    whole = tmp_path / "whole"
    run(*arguments[:2], whole, *arguments[3:], "--num-workers", 0)
    assert hashes(out) == hashes(whole)


def test_signal_handlers_are_put_back(photos: Path, out: Path, run: Run) -> None:
    signals = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(number) for number in signals]
    convert(run, photos, out, "--format", "tar")
    assert [signal.getsignal(number) for number in signals] == before
