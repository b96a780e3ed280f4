"""How the tests run commands, in this process or in one of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLASSES = {"ant": 4, "bee": 3}
COLOURS = {"ant": (200, 0, 0), "bee": (0, 0, 200)}

Run = Callable[..., tuple[int, str, str]]


def convert(run: Run, *arguments: Any) -> str:
    code, printed, errors = run("convert", "--num-workers", 0, "--images-per-file", 3, *arguments)
    assert (code, errors) == (0, ""), errors
    return printed


def command(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shardwright", *map(str, arguments)],
        cwd=ROOT,
        text=True,
        check=False,
        **({"capture_output": True} | options),
    )
