"""The Caltech-256 example runs as its users run it: from anywhere, with their files beside it."""

import importlib.util
import os
import re
import subprocess
import sys
import urllib.error
from pathlib import Path
from types import ModuleType

import pytest

from shardwright.base.reader import open_reader

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "caltech256"
FORMATS = ("hdf5", "memmap", "parquet", "pyarrow_ipc", "tar")


def run(script: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of the example in `cwd`, with temporary files there, too."""
    return subprocess.run(
        [sys.executable, EXAMPLE / script, *arguments],
        cwd=cwd,
        env=os.environ | {"TMPDIR": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def caltech_folder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("caltech_folder", EXAMPLE / "caltech_folder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, caltech_folder: ModuleType) -> Path:
    """A folder with foreign modules in it, where the example converted a few images to all formats."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("utils.py", "train.py"):
        (folder / name).write_text("raise SystemExit('a foreign module was imported')\n")
    caltech_folder.make_images(folder / "caltech256", per_class=3)
    # The folder above the class folders is found, too.
    arguments = ("--input-path", "caltech256", "--image-size", "24", "--num-workers", "0", "--train")
    done = run("run.py", *arguments, cwd=folder)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (folder / "printed.txt").write_text(done.stdout)
    return folder


def test_all_formats_are_in_the_table_and_trained_on(shards: Path) -> None:
    printed = (shards / "printed.txt").read_text()
    table = printed.split("\n\n")[1].splitlines()
    assert table[0].split()[:4] == ["format", "images", "bytes", "in"]
    rows = [line.split() for line in table[1:]]
    assert [row[:2] for row in rows] == [[name, "26"] for name in FORMATS]
    assert all(len(row) == 8 for row in rows)
    assert "1 x not an image" in printed
    assert "epoch 1: loss" in printed


@pytest.mark.parametrize("name", FORMATS)
def test_what_lies_about_in_caltech256_is_handled(shards: Path, caltech_folder: ModuleType, name: str) -> None:
    reader = open_reader(shards / "caltech256_shards" / name)
    assert reader.classes == list(caltech_folder.CLASSES)
    counts = {label: (reader.targets == number).sum() for label, number in reader.class_to_idx.items()}
    # The nested folder counts for the dogs, the script is no spider, the clutter is a class.
    assert (counts["056.dog"], counts["198.spider"], counts["257.clutter"]) == (5, 3, 3)


def test_a_second_run_converts_nothing(shards: Path) -> None:
    arguments = ("--input-path", "caltech256", "--image-size", "24", "--num-workers", "0", "--formats", "tar")
    before = (shards / "caltech256_shards" / "tar" / "metadata" / "train.json").stat()
    done = run("run.py", *arguments, cwd=shards)
    assert done.returncode == 0, done.stderr
    assert "there already" in done.stdout
    assert (shards / "caltech256_shards" / "tar" / "metadata" / "train.json").stat() == before


def test_train_runs_alone_on_any_format(shards: Path) -> None:
    done = run("train.py", shards / "caltech256_shards" / "tar", "--image-size", "16", "--num-workers", "0", cwd=shards)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout


def test_without_arguments_it_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run("run.py", "--formats", "parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "parquet          322" in done.stdout
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("caltech256")]


@pytest.mark.parametrize("arguments", [("run.py", "--input-path", "in", "--output-path", "out"), ("train.py", "in")])
def test_errors_are_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "in").mkdir()
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(rf"{tmp_path / 'in'} has no .*\n|in has no split 'train'.*\n", done.stderr), done.stderr


def test_an_input_that_is_not_there_is_told(tmp_path: Path, caltech_folder: ModuleType) -> None:
    with pytest.raises(SystemExit, match="nowhere is not a folder; give the one"):
        caltech_folder.class_folders(tmp_path / "nowhere")


def test_download_without_a_network_says_what_to_do(
    tmp_path: Path, caltech_folder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*arguments: object, **options: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(caltech_folder, "Caltech256", offline)
    with pytest.raises(SystemExit, match=r"Name or service not known(.|\n)*--input-path"):
        caltech_folder.download(tmp_path)


def test_generated_images_differ_from_class_to_class(tmp_path: Path, caltech_folder: ModuleType) -> None:
    root = caltech_folder.make_images(tmp_path, per_class=1)
    files = sorted(root.glob("*/*_0001.jpg"))
    assert len(files) == len(caltech_folder.CLASSES)
    assert len({path.read_bytes() for path in files}) == len(files)
