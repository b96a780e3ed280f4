"""Images that cannot be read: the conversion stops, or skips them where that is asked for."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.commands import Run


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
