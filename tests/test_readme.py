"""The README: its Python runs, its shell lines parse, its tables tell the truth."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shardwright

ROOT = Path(__file__).resolve().parents[1]
LINES = (ROOT / "README.md").read_text().splitlines()


def blocks(language: str) -> list[tuple[int, list[str]]]:
    """Line number (from 0) and lines of every code block in a language."""
    found: list[tuple[int, list[str]]] = []
    inside = False
    for number, line in enumerate(LINES):
        if inside and line == "```":
            inside = False
        elif inside and found:
            found[-1][1].append(line)
        elif line == f"```{language}":
            inside = True
            found.append((number + 1, []))
    return found


def make_images(folder: Path) -> None:
    """Two classes of images in mixed sizes and formats, one in gray."""
    rng = np.random.default_rng(0)
    for name, count in (("cat", 9), ("dog", 6)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (30 + i, 50 - i, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).convert("L" if i == 2 else "RGB")
            image.save(folder / name / f"{i}.{'png' if i % 2 else 'jpg'}")


@pytest.fixture(scope="module")
def after_readme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all Python of the README was run, block after block, as one module."""
    folder = tmp_path_factory.mktemp("readme")
    make_images(folder / "images")
    module = [""] * len(LINES)
    for start, lines in blocks("python"):
        module[start : start + len(lines)] = lines
    # With the README's own line numbers, a traceback points into the README. Imported, not run:
    # a script would be run again by worker processes that are not forked.
    (folder / "readme.py").write_text("\n".join(module))
    done = subprocess.run(
        [sys.executable, "-c", "import readme"],
        cwd=folder,
        env=os.environ | {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return folder


def test_every_python_block_runs(after_readme: Path) -> None:
    assert len(blocks("python")) >= 10
    assert (after_readme / "by_two_ranks" / "metadata" / "train.json").exists()


def test_the_sixth_format_writes_ordinary_zip_files(after_readme: Path) -> None:
    files = sorted((after_readme / "images").rglob("*.*"))
    shards = sorted((after_readme / "zipped" / "data").glob("*.zip"))
    assert len(shards) == 3
    images, labels = [], []
    for path in shards:
        with zipfile.ZipFile(path) as shard:
            images += [shard.read(name) for name in shard.namelist() if name.startswith("image/")]
            labels += [shard.read(name) for name in shard.namelist() if name.startswith("label/")]
    assert images == [path.read_bytes() for path in files]
    assert np.frombuffer(b"".join(labels), "<i8").tolist() == [0] * 9 + [1] * 6


def test_every_shell_block_parses() -> None:
    commands = ["\n".join(lines) for _, lines in blocks("bash")]
    assert len(commands) >= 4
    for command in commands:
        done = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_the_command_line_runs(after_readme: Path) -> None:
    lines = [line for _, block in blocks("bash") for line in block if line.startswith("shardwright ")]
    assert [line.split()[1] for line in lines] == ["convert", "info", "verify", "view", "formats"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)],
        cwd=after_readme,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    with Image.open(after_readme / "samples.png") as sheet:
        assert sheet.format == "PNG"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", "\n".join(LINES)):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_table_of_formats_names_all_of_them() -> None:
    from shardwright.base.formats import get_format

    rows = [re.findall(r"`([^`]+)`", line) for line in LINES if re.search(r"Converter` \| `.*Reader` \|$", line)]
    assert len(rows) == 5
    for name, converter, reader in rows:
        record = get_format(name)
        assert (record.converter.partition(":")[2], record.reader.partition(":")[2]) == (converter, reader)
        assert (record.load_converter(), record.load_reader()) == (
            getattr(shardwright, converter),
            getattr(shardwright, reader),
        )
