"""Pipes and terminals: closed ones change nothing, and progress is shown on terminals only."""

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from shardwright.base.reader import open_reader
from tests.cli.commands import ROOT, command


def test_a_closed_pipe_changes_neither_work_nor_exit_code(photos: Path, out: Path) -> None:
    """Fault 136: nobody reads what convert prints, not even its progress."""
    nobody, pipe = os.pipe()
    os.close(nobody)
    try:
        arguments = ("convert", photos, out, "--format", "tar", "--num-workers", 0, "--progress")
        done = command(*arguments, capture_output=False, stdout=pipe, stderr=pipe)
        assert done.returncode == 0
        assert command("verify", out, capture_output=False, stdout=pipe, stderr=pipe).returncode == 0
        (out / "data/train-00000-of-00001.tar").write_bytes(b"")
        assert command("verify", out, capture_output=False, stdout=pipe, stderr=pipe).returncode == 1
    finally:
        os.close(pipe)


def test_closed_streams_change_nothing(photos: Path, out: Path) -> None:
    command = f'"{sys.executable}" -m shardwright convert "{photos}" "{out}" --format tar --num-workers 0'
    line = f"exec {command} >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], cwd=ROOT, check=False).returncode == 0
    assert len(open_reader(out)) == 7


def test_progress_is_quiet_unless_on_a_terminal(photos: Path, tmp_path: Path) -> None:
    done = command("convert", photos, tmp_path / "quiet", "--format", "tar", "--num-workers", 0)
    assert (done.returncode, done.stderr) == (0, "")
    ours, theirs = pty.openpty()
    done = command(
        "convert", photos, tmp_path / "shown", "--format", "tar", "--num-workers", 0, stderr=theirs, stdout=theirs,
        capture_output=False,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other end was closed
        while more := os.read(ours, 2**16):
            shown += more
    os.close(ours)
    assert done.returncode == 0
    assert re.search(rb"7/7 \[.* images/s, [\d.]+ [kM]?B?(bytes)?/s\]", shown), shown
