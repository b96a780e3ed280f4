"""`--help` and `formats`: commands, examples and exit codes, at once."""

import inspect
import re
import subprocess
import sys

import pytest

from shardwright.base.formats import technologies
from shardwright.cli.main import COMMANDS
from tests.cli.commands import ROOT, Run, command

MATRIX = """\
                converter         reader          source  in place  export
annotations     -                 -               yes     -         -
arrays          -                 MemmapReader    yes     yes       npz
folders         -                 -               yes     -         folder
hdf5            HDF5Converter     HDF5Reader      yes     yes       -
memmap          MemmapConverter   MemmapReader    arrays  yes       -
parquet         ParquetConverter  ParquetReader   yes     yes       -
pyarrow_ipc     IpcConverter      IpcReader       yes     yes       -
splits          -                 -               yes     -         -
tar             TarConverter      TarReader       yes     yes       webdataset
tfrecord        -                 TFRecordReader  yes     yes       tfrecord
torch_datasets  -                 -               yes     -         -"""


def test_help_lists_the_commands_examples_and_exit_codes(run: Run) -> None:
    code, printed, _ = run("--help")
    assert code == 0
    assert all(f"    {name}" in printed for name in COMMANDS)
    assert "examples:" in printed
    assert all(re.search(rf"^  {number}  ", printed, re.MULTILINE) for number in (0, 1, 2, 3, 130))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples_that_it_understands(name: str, run: Run) -> None:
    code, printed, _ = run(name, "--help")
    assert code == 0
    examples = printed.partition("examples:\n")[2]
    lines = re.findall(rf"^  .*shardwright {name}(.*?)(?:  .*)?$", examples, re.MULTILINE)
    assert lines
    flags = {flag for line in lines for flag in re.findall(r"--[a-z-]+", line)}
    assert all(flag in printed.partition("examples:")[0] for flag in flags)


def test_help_and_formats_do_not_wait_for_torch() -> None:
    code = """
        import contextlib, sys
        from shardwright.cli.main import main
        for arguments in (["--help"], ["formats"], ["verify", "--help"], ["convert", "--format", "nope"]):
            with contextlib.suppress(SystemExit):
                main(arguments)
        print(sorted({"torch", "h5py", "pyarrow"} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # Hugging Face's `datasets`, where it is installed beside, imports pyarrow itself.
    assert done.stdout.splitlines()[-1] in ("[]", "['pyarrow']")


def test_formats_shows_the_doors_of_every_format(run: Run) -> None:
    code, printed, _ = run("formats")
    assert code == 0
    matrix, meaning, summaries = printed.split("\n\n")
    names = sorted(record.name for record in technologies())
    assert [line.split()[0] for line in matrix.splitlines()[1:]] == names
    assert [line.split()[0] for line in summaries.splitlines()] == names
    assert matrix == MATRIX
    assert all(word in meaning for word in ("converter", "reader", "source", "in place", "export"))


def test_it_is_a_module_too() -> None:
    done = command("formats")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nhdf5 " in done.stdout
