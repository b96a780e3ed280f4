"""How many of the numbered faults have a test: a test names them in its docstring, as ``Faults 36, 37.``"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
FAULTS = 136
# So many are covered; raise it when more are, so that none is lost unnoticed.
COVERED = 135


def named_faults() -> dict[int, list[str]]:
    """Fault number to the tests whose docstrings name it."""
    found: dict[int, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for numbers in re.findall(r"Faults? ((?:\d+(?:, | and )?)+)", ast.get_docstring(node) or ""):
                    for number in re.findall(r"\d+", numbers):
                        found.setdefault(int(number), []).append(f"{path.stem}::{node.name}")
    return found


def test_named_faults_exist_and_are_as_many_as_before():
    found = named_faults()
    assert set(found) <= set(range(1, FAULTS + 1))
    assert len(found) >= COVERED, f"{len(found)} of {FAULTS}"


if __name__ == "__main__":
    covered = named_faults()
    print(f"{len(covered)} of {FAULTS} faults are named by tests")  # noqa: T201
    print("not yet:", *sorted(set(range(1, FAULTS + 1)) - set(covered)))  # noqa: T201
