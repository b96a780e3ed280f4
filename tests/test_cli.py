"""The command line: what it prints, what it writes, and its exit codes."""

import contextlib
import hashlib
import inspect
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from datasets.base import formats
from datasets.base.errors import StorageError
from datasets.base.fields import Field
from datasets.base.formats import Format, format_names, get_format, open_reader
from datasets.cli.constructor import join_pairs, options_of
from datasets.cli.estimate import estimate
from datasets.cli.main import COMMANDS, main
from datasets.sources import open_source
from datasets.tar.tar_converter import TarConverter

ROOT = Path(__file__).resolve().parents[1]
CLASSES = {"ant": 4, "bee": 3}
COLOURS = {"ant": (200, 0, 0), "bee": (0, 0, 200)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for name, count in CLASSES.items():
        (root / name).mkdir()
        for number in range(count):
            Image.new("RGB", (30, 20), COLOURS[name]).save(root / name / f"{number}.png")
    (root / "bee/notes.txt").write_text("not an image")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit code, output, errors."""

    def run(*arguments: Any) -> tuple[int, str, str]:
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def convert(run: Run, *arguments: Any) -> str:
    code, printed, errors = run("convert", "--num-workers", 0, "--images-per-file", 3, *arguments)
    assert (code, errors) == (0, "")
    return printed


def command(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "datasets.cli", *map(str, arguments)],
        cwd=ROOT,
        text=True,
        check=False,
        **({"capture_output": True} | options),
    )


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Help.


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
        from datasets.cli.main import main
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


def test_formats_lists_every_format(run: Run) -> None:
    code, printed, _ = run("formats")
    assert code == 0
    assert [line.split()[0] for line in printed.splitlines()] == format_names()


def test_it_is_a_module_too() -> None:
    done = command("formats")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("hdf5 ")


# Options from the constructors.


@pytest.mark.parametrize("name", format_names())
def test_every_parameter_of_a_converter_is_an_option(name: str, run: Run) -> None:
    _, printed, _ = run("convert", "--format", name, "--help")
    options = options_of(get_format(name).load_converter())
    assert {"images_per_file", "num_workers", "on_error", "fields", "rank"} <= options.keys()
    for option in options.values():
        assert f"{option.flag} " in printed or f"{option.flag}," in printed, option
        assert option.text, f"{option.name} has no text in the class docstring"


class _Sixth(TarConverter):
    """A sixth format.

    Parameters
    ----------
    speed : int
        How fast,
        in knots.
    colour : {"red", "blue"}
        Which.
    hook : callable
        Cannot be typed.
    """

    format_name = "sixth"

    def __init__(
        self,
        *arguments: Any,
        speed: int | None = 4,
        colour: Literal["red", "blue"] = "red",
        hook: Any = None,
        **options: Any,
    ) -> None:
        self.seen = (speed, colour)
        super().__init__(*arguments, **options)

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"seen": list(self.seen)}


@pytest.fixture
def sixth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Format, "load_converter", lambda self: _Sixth)
    record = Format("sixth", ".tar", "", get_format("tar").reader)
    monkeypatch.setitem(formats._FORMATS, "sixth", record)


def test_the_options_of_a_new_format_appear_by_themselves(sixth: None, run: Run) -> None:
    _, printed, _ = run("convert", "--format", "sixth", "--help")
    text = " ".join(printed.split())
    assert "--speed N|none How fast, in knots. (default: 4)" in text
    assert "--colour red|blue Which. (default: red)" in text
    assert "--hook" not in text


def test_the_options_of_a_new_format_reach_its_constructor(sixth: None, photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "sixth", "--speed", "none", "--colour", "blue")
    manifest = json.loads((out / "metadata/train.json").read_text())
    assert manifest["plan"]["options"]["seen"] == [None, "blue"]


def test_a_derived_default_wins() -> None:
    assert options_of(get_format("memmap").load_converter())["batch_size"].default == 100
    assert options_of(get_format("tar").load_converter())["batch_size"].default == 32


def test_a_shape_may_be_two_words() -> None:
    options = options_of(get_format("memmap").load_converter())
    assert join_pairs(["in", "out", "--shape", "8", "16"], options) == ["in", "out", "--shape", "8x16"]
    unchanged = ["--rank", "0", "7", "--shape", "8x4", "9"]
    assert join_pairs(unchanged, options) == unchanged


@pytest.mark.parametrize("shape", [["--shape", "8x16"], ["--shape", "8", "16"], ["--shape=8,16"]])
def test_shape_is_height_then_width(shape: list[str], photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "memmap", *shape)
    assert open_reader(out, output="numpy")[0][0].shape == (8, 16, 3)


def test_fields_are_json(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar", "--fields", '[{"name": "label", "kind": "int"}]')
    assert open_reader(out).fields[1] == Field("label", "int")


# Convert.


@pytest.mark.parametrize("name", format_names())
def test_convert_writes_what_the_library_writes(name: str, photos: Path, tmp_path: Path, run: Run) -> None:
    printed = convert(run, photos, tmp_path / "a", "--format", name)
    get_format(name).load_converter()(photos, tmp_path / "b", images_per_file=3, num_workers=0).convert()
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    lines = dict(line.strip().split(None, 1) for line in printed.splitlines())
    sizes = sum(path.stat().st_size for path in photos.rglob("*.png"))
    assert printed.startswith(f"{tmp_path / 'a'}: split train, {name}\n")
    assert lines["images"] == "7 in 3 shards"
    assert f"{sizes} bytes in, " in lines["bytes"]
    assert re.fullmatch(r"[\d.]+ s, [\d,]+ images/s", lines["time"])
    assert lines["ignored"] == "not an image: 1"


def test_convert_again_says_that_nothing_was_to_do(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    before = digests(out)
    assert "it was complete already" in convert(run, photos, out, "--format", "tar")
    assert digests(out) == before


def test_one_format_into_another_split_by_split(photos: Path, tmp_path: Path, run: Run) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    convert(run, photos, first, "--format", "tar")
    convert(run, photos / "bee", first, "--format", "tar", "--split", "test")
    convert(run, first, second, "--format", "parquet")
    convert(run, first, second, "--format", "parquet", "--split", "test")
    convert(run, first, second, "--format", "parquet", "--split", "other", "--input-split", "test")
    assert [len(open_reader(second, split=s)) for s in ("train", "test", "other")] == [7, 3, 3]
    assert open_reader(second, output="bytes")[0] == open_reader(first, output="bytes")[0]


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


# Errors.


WRONG = [
    (["convert"], 2, "INPUT, OUTPUT, --format"),
    (["nonsense"], 2, "choose from"),
    (["convert", "PHOTOS", "OUT"], 2, "--format"),
    (["convert", "PHOTOS", "OUT", "--format", "zip"], 2, "parquet"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--compression", "gzip"], 2, "convert --help"),
    (["convert", "PHOTOS", "OUT", "--format", "memmap", "--shape", "8"], 2, "HEIGHTxWIDTH"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--on-error", "maybe"], 2, "raise|skip"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--images-per-file", "0"], 2, "--images-per-file 0 must be"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--quality", "9"], 2, "leave it out"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--input-split", "x"], 2, "leave the option out"),
    (["convert", "PHOTOS", "OUT", "--format", "tar", "--fields", "[{}]"], 2, "JSON"),
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
    monkeypatch.setattr("datasets.cli.formats.format_names", lambda: 1 / 0)
    code, _, errors = run("formats")
    assert code == 1
    assert re.fullmatch(r"shardwright: ZeroDivisionError: .*--traceback.*\n", errors)


def test_a_full_disk_is_a_storage_error(photos: Path, out: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, errors = run("convert", photos, out, "--format", "tar", "--num-workers", 0)
    assert code == 3
    assert "No space left on device" in errors
    assert "make room" in errors


def test_a_locked_split_is_a_storage_error(photos: Path, out: Path, run: Run) -> None:
    from datasets.base.commit import SplitPaths
    from datasets.base.lock import split_lock

    with split_lock(SplitPaths(out, "train"), 0, 1):
        code, _, errors = run("convert", photos, out, "--format", "tar", "--num-workers", 0)
    assert code == 3
    assert f"process {os.getpid()}" in errors


@pytest.fixture
def one_bad(tmp_path: Path) -> Path:
    root = tmp_path / "one_bad"
    (root / "ant").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (30, 20)).save(root / "ant" / f"{number}.png")
    (root / "ant/1.png").write_bytes((root / "ant/1.png").read_bytes()[:40])
    return root


def test_a_bad_image_stops_the_conversion_and_names_the_way_on(one_bad: Path, out: Path, run: Run) -> None:
    code, _, errors = run("convert", one_bad, out, "--format", "memmap", "--num-workers", 0)
    assert code == 1
    assert re.fullmatch(r"shardwright: ant/1.png: .*; mend or remove it, or pass --on-error skip\n", errors)


def test_skipped_images_are_a_problem_unless_allowed(one_bad: Path, out: Path, run: Run) -> None:
    arguments = ("convert", one_bad, out, "--format", "memmap", "--num-workers", 0, "--on-error", "skip")
    code, printed, errors = run(*arguments)
    assert code == 1
    assert f"  skipped  1, listed in {out}/metadata/train.skipped.jsonl" in printed
    assert "pass --max-skipped 1" in errors
    code, printed, errors = run(*arguments, "--max-skipped", 1)
    assert (code, errors) == (0, "")


# Info, verify, view, finalize.


def test_info_shows_what_is_in_it(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "parquet")
    convert(run, photos, out, "--format", "memmap", "--split", "small", "--shape", "4x6")
    code, printed, _ = run("info", out)
    assert code == 0
    for part in (
        "split small: memmap",
        "split train: parquet",
        "image: image, 4x6x3 |u1, modes RGB (7), 72 bytes each",
        "7 in 3 shards of up to 3",
        "2: ant (4), bee (3)",
        "not an image: 1",
    ):
        assert part in printed
    assert "split train" not in run("info", out, "--split", "small")[1]


def test_info_as_json_has_everything(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "hdf5", "--shape", "4x6")
    found = json.loads(run("info", out, "--json")[1])
    split = found["splits"]["train"]
    assert found["path"] == str(out)
    assert (split["format"], split["samples"], split["shards"]) == ("hdf5", 7, 3)
    assert split["classes"] == list(CLASSES)
    assert split["class_counts"] == list(CLASSES.values())
    assert split["fields"]["image"]["shape"] == [4, 6, 3]
    assert split["fields"]["image"]["modes"] == {"RGB": 7}
    assert split["options"]["images_per_file"] == 3
    paths = [p for p in out.rglob("*") if p.is_file() and p.name != "train.json"]
    assert split["bytes"] == sum(path.stat().st_size for path in paths)


def test_verify_names_the_damage(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    code, printed, errors = run("verify", out)
    assert (code, errors) == (0, "")
    assert ": train: all right (7 samples, " in printed
    shard = out / "data/train-00001-of-00003.tar"
    content = bytearray(shard.read_bytes())
    content[520] ^= 1
    shard.write_bytes(content)
    code, printed, errors = run("verify", out)
    assert code == 1
    assert [line.partition(": ")[0] for line in printed.splitlines()] == [str(shard), str(shard)]
    assert "split train, shard 1, sample 3, field image" in printed
    assert "2 problems found; restore the named files" in errors


@pytest.mark.parametrize("options", [["parquet"], ["memmap"], ["hdf5", "--compression", "gzip", "--layout", "NCHW"]])
def test_view_draws_samples_with_labels(options: list[str], photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", *options)
    sheet = out.parent / "sheet.png"
    code, printed, _ = run("view", out, "--output", sheet, "--count", 4)
    assert (code, printed) == (0, f"{sheet}: 4 samples of split train\n")
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape == (2 * 184 + 6, 2 * 166 + 6, 3)
    drawn = {tuple(pixels[6 + 80 + 184 * row, 6 + 80 + 166 * column].tolist()) for row in (0, 1) for column in (0, 1)}
    assert drawn == set(COLOURS.values())
    captions = pixels[6 + 160 : 6 + 178, 6:166]
    assert (captions < 100).all(axis=2).any(), "no caption is drawn"


def test_view_is_the_same_for_the_same_seed(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    sheets = [out.parent / f"{number}.png" for number in range(3)]
    for sheet, seed in zip(sheets, (1, 1, 2), strict=True):
        run("view", out, "--output", sheet, "--count", 3, "--seed", seed)
    first, again, other = (sheet.read_bytes() for sheet in sheets)
    assert first == again != other


def test_view_takes_more_than_there_is(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    assert "7 samples" in run("view", out, "--output", out.parent / "s.png", "--count", 100)[1]


def test_finalize_names_missing_shards(photos: Path, out: Path, run: Run) -> None:
    arguments = ["--images-per-file", 3, "--num-workers", 0, "--rank", 0, "--num-replicas", 2, "--no-wait"]
    code, printed, _ = run("convert", photos, out, "--format", "tar", *arguments)
    assert (code, "the last rank publishes" in printed) == (0, True)
    code, _, errors = run("finalize", out)
    assert code == 1
    assert "lacks 1 shards: 1; run the conversion again" in errors


def test_finalize_publishes_what_is_complete(photos: Path, out: Path, run: Run) -> None:
    def full(*arguments: Any) -> None:
        raise StorageError("the disk is full; make room")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.base.publish.write_manifest", full)
        assert run("convert", photos, out, "--format", "tar", "--num-workers", 0)[0] == 3
    assert "shardwright finalize" in run("info", out)[2]
    code, printed, _ = run("finalize", out)
    assert (code, printed) == (0, f"{out}: split train is published: 7 images in 1 shards\n")
    assert run("verify", out)[0] == 0


# Pipes, terminals and signals.

INTERRUPTING = """
import os, signal, sys
from datasets.cli.main import main
from datasets.sources.folder import FolderSource

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
    assert digests(out) == digests(whole)


def test_more_workers_than_cores_are_no_matter_for_warnings(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar", "--num-workers", (os.cpu_count() or 1) + 1)


def test_signal_handlers_are_put_back(photos: Path, out: Path, run: Run) -> None:
    signals = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(number) for number in signals]
    convert(run, photos, out, "--format", "tar")
    assert [signal.getsignal(number) for number in signals] == before


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
    line = f'exec "{sys.executable}" -m datasets.cli convert "{photos}" "{out}" --format tar --num-workers 0 >&- 2>&-'
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


def test_names_that_would_steer_a_terminal_are_escaped(tmp_path: Path, run: Run) -> None:
    (tmp_path / "in/\x1b[31mred").mkdir(parents=True)
    Image.new("L", (2, 2)).save(tmp_path / "in/\x1b[31mred/a.png")
    convert(run, tmp_path / "in", tmp_path / "out", "--format", "tar")
    printed = run("info", tmp_path / "out")[1]
    assert "\x1b" not in printed
    assert "\\x1b[31mred (1)" in printed
