"""Fixtures of the tests of the command line: photos to convert, a folder to convert to, a command to run."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shardwright.cli.main import main
from tests.cli.commands import CLASSES, COLOURS, Run


@pytest.fixture(scope="session")
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
