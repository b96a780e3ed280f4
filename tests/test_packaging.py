"""The wheel: what is in it, what it needs, and that it lives beside Hugging Face's `datasets`."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
DIST_INFO = f"shardwright-{VERSION}.dist-info"


def run(command: list[str | Path], cwd: Path | None = None, **env: str) -> str:
    """The command's output; a failure shows what it printed."""
    done = subprocess.run(command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from a copy so that no older build in the checkout leaks into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "dataloadenv", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    # An ordinary checkout has these at its top; none may become an importable name.
    for name in ("tests", "examples", "benchmarks", "docs"):
        (source / name).mkdir(exist_ok=True)
        (source / name / "loose.py").touch()
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source])
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_exactly_the_sources(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {
        "datasets",
        "shardwright",
        "utils",
        DIST_INFO,
    }
    sources = {
        path.relative_to(ROOT).as_posix()
        for top in ("shardwright", "datasets", "utils")
        for path in (ROOT / top).rglob("*")
        if path.suffix in {".py", ".typed"}
    }
    assert {name for name in names if ".dist-info/" not in name} == sources
    assert f"{DIST_INFO}/licenses/LICENSE" in names


def test_wheel_needs_the_agreed_packages_and_no_more(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(f"{DIST_INFO}/METADATA").decode()
    needs = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    default = {line.split()[1].split(">")[0] for line in needs if "extra ==" not in line}
    assert default == {
        "h5py",
        "numpy",
        "pillow",
        "pyarrow",
        "simplejpeg",
        "torch",
        "torchvision",
        "tqdm",
        "xxhash",
    }
    assert "Requires-Python: >=3.11" in metadata
    entry_points = archive.read(f"{DIST_INFO}/entry_points.txt").decode()
    assert "shardwright = shardwright.cli.main:main" in entry_points


@pytest.fixture(scope="session")
def their_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hugging Face's wheel, packed again from what is installed here: no network needed."""
    try:
        theirs = importlib.metadata.distribution("datasets")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("Hugging Face's datasets is not installed; it is in the extra 'dev'")
    path = tmp_path_factory.mktemp("theirs") / f"datasets-{theirs.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in theirs.files or []:
            inside = ".." not in file.parts and "__pycache__" not in file.parts
            if inside and file.name not in {"INSTALLER", "REQUESTED", "direct_url.json"}:
                archive.write(str(file.locate()), file.as_posix())
    return path


def make_environment(folder: Path) -> Path:
    """A fresh environment that shares this one's packages, except theirs and ours."""
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    (site_packages,) = folder.glob("lib/python*/site-packages")
    shared = folder / "shared"
    shared.mkdir()
    for entry in Path(np.__file__).parents[1].iterdir():
        if not entry.name.startswith(("datasets", "shardwright", "utils", "__")):
            (shared / entry.name).symlink_to(entry)
    (site_packages / "shared.pth").write_text(f"{shared}\n")
    return folder / "bin" / "python"


def pip(python: Path, *arguments: str | Path) -> None:
    run([sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", *arguments])


def assert_intact(python: Path, wheel: Path) -> None:
    """Every file of the wheel is installed, byte for byte."""
    (site_packages,) = python.parents[1].glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        code = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert code
        changed = [
            name
            for name in code
            if not (site_packages / name).is_file() or (site_packages / name).read_bytes() != archive.read(name)
        ]
    assert changed == []


BOTH = """
import sys
from pathlib import Path
import datasets
from datasets import load_dataset
from datasets.parquet.parquet_converter import ParquetConverter
from datasets.parquet.parquet_reader import ParquetReader
from utils.utils import ResizeAndConvert

import shardwright

assert shardwright.ParquetConverter is ParquetConverter and shardwright.ParquetReader is ParquetReader
assert shardwright.ResizeAndConvert is ResizeAndConvert
assert Path(datasets.__file__).is_relative_to(sys.prefix), datasets.__file__
if __name__ == "__main__":
    images, output = sys.argv[1:]
    ParquetConverter(
        input_data=images, output_path=output, images_per_file=2, batch_size=2, num_workers=0
    ).convert()
    ours, theirs = ParquetReader(dataset_path=output), load_dataset(output, split="train")
    assert theirs.features["label"].names == ours.classes == ["cat", "dog"]
    assert theirs["label"] == ours.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert [image.tobytes() for image in theirs["image"]] == [image.tobytes() for image, _ in ours]
    print("same")
"""


@pytest.mark.parametrize("order", ["ours first", "theirs first", "ours editable"])
def test_lives_beside_hugging_face(order: str, wheel: Path, their_wheel: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    ours: list[str | Path] = [wheel]
    if order == "ours editable":
        ours = ["--no-build-isolation", "--editable", wheel.parent / "source"]
    steps: list[list[str | Path]] = [ours, [their_wheel]]
    for step in reversed(steps) if order == "theirs first" else steps:
        pip(python, "install", "--no-index", "--no-deps", *step)
    assert_intact(python, their_wheel)
    if order != "ours editable":
        assert_intact(python, wheel)

    for index, label in enumerate(["cat", "cat", "cat", "dog", "dog", "dog"]):
        (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (8, 6), (40 * index, 255 - 40 * index, 7))
        image.save(tmp_path / "images" / label / f"{index}.png")
    script = tmp_path / "both.py"
    script.write_text(BOTH)
    offline = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    command: list[str | Path] = [python, script, tmp_path / "images", tmp_path / "out"]
    assert run(command, cwd=tmp_path, **offline).endswith("same\n")
    run([python.parent / "shardwright", "--help"], cwd=tmp_path)

    pip(python, "uninstall", "--yes", "shardwright")
    assert_intact(python, their_wheel)
