"""Errors: one line that says how to mend it, and an exit code for each kind."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.cli.commands import Run, convert

FIELD = '{"name": "a", "kind": "b"}'
WRONG = [
    (["convert"], 2, "INPUT, OUTPUT, --format"),
    (["nonsense"], 2, "choose from"),
    (["convert", "PHOTOS", "OUT"], 2, "--format"),
    (["convert", "PHOTOS", "OUT", "--format", "zip"], 2, "parquet"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--compression", "gzip"], 2, "convert --help"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--compression=gzip"], 2, "; --compression is an option of hdf5;"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--shape", "8"], 2, "; --shape is an option of hdf5, memmap;"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--num_workers", "8"], 2, "; did you mean --num-workers?;"),
    (["view", "OUT", "--sed", "8"], 2, "; did you mean --seed?;"),
    (["view", "OUT", "--zzz"], 2, "unrecognized arguments: --zzz; see"),
    (["convert", "PHOTOS", "OUT", "--format", "memmap", "--shape", "8"], 2, "HEIGHTxWIDTH"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--on-error", "maybe"], 2, "raise|skip"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--images-per-file", "0"], 2, "--images-per-file 0 must be"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--quality", "9"], 2, "leave it out"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--input-split", "x"], 2, "leave the option out"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--fields", "[{}]"], 2, "JSON"),
    (
        ["convert", "PHOTOS", "OUT", "--format", "tar", "--fields", FIELD],
        2,
        "--fields: field 'a': kind 'b' is not one of",
    ),
    (["convert", "PHOTOS", "PHOTOS/out", "--format", "tar"], 2, "lie in one another; choose another"),
    (["convert", "OUT/none", "OUT", "--format", "tar"], 2, "does not exist"),
    (["info", "OUT"], 1, "check the path"),
    (["verify", "OUT"], 1, "check the path"),
    (["verify", "OUT", "--split", "test"], 1, "check the path"),
    (["finalize", "OUT"], 1, "check the path"),
    (["view", "OUT"], 1, "check the path"),
    (["view", "OUT", "--count", "0"], 2, "from 1 to"),
]


@pytest.mark.parametrize(("arguments", "code", "mend"), WRONG, ids=lambda value: str(value)[:60])
def test_an_error_is_one_line_with_the_mend(
    arguments: list[str], code: int, mend: str, photos: Path, out: Path, run: Run
) -> None:
    arguments = [a.replace("PHOTOS", str(photos)).replace("OUT", str(out)) for a in arguments]
    found, printed, errors = run(*arguments)
    assert (found, printed) == (code, "")
    assert re.fullmatch(r"shardwright.*: .*\n", errors), errors
    assert mend in errors
    assert not out.exists()


def test_another_plan_is_told_in_the_words_of_the_command_line(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    code, _, errors = run("convert", photos, out, "--format", "tar", "--images-per-file", 2)
    assert code == 2
    assert "Pass --overwrite to replace it, or choose another --split or OUTPUT" in errors
    convert(run, photos, out, "--format", "tar", "--images-per-file", 2, "--overwrite")


def test_a_traceback_only_when_asked(out: Path, run: Run) -> None:
    assert "Traceback" not in run("info", out)[2]
    assert "Traceback" in run("info", out, "--traceback")[2]


def test_an_error_nobody_expected_is_one_line_too(photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardwright.cli.formats.technologies", lambda: 1 / 0)
    code, _, errors = run("formats")
    assert code == 1
    assert re.fullmatch(r"shardwright: ZeroDivisionError: .*--traceback.*\n", errors)


def test_a_python_without_the_library_is_told_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'tqdm'")

    monkeypatch.setattr("shardwright.cli.formats.technologies", missing)
    _, _, errors = run("formats")
    assert errors.startswith("shardwright: No module named 'tqdm'; install shardwright into the Python that runs it")
    assert sys.executable in errors


def test_a_full_disk_is_a_storage_error(photos: Path, out: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, errors = run("convert", photos, out, "--format", "tar", "--num-workers", 0)
    assert code == 3
    assert "No space left on device" in errors
    assert "make room" in errors


def test_a_locked_split_is_a_storage_error(photos: Path, out: Path, run: Run) -> None:
    from shardwright.base.split.paths import SplitPaths
    from shardwright.base.writing.lock import split_lock

    with split_lock(SplitPaths(out, "train"), 0, 1):
        code, _, errors = run("convert", photos, out, "--format", "tar", "--num-workers", 0)
    assert code == 3
    assert f"process {os.getpid()}" in errors
