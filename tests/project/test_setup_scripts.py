"""The scripts that set the library up, run with stubs in place of Python and `ml`."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FAKE_PYTHON = """#!/usr/bin/env bash
# Stands in for Python: says which version it is, makes environments of itself, logs `-m pip`.
case "$*" in
  *version_info*) echo "$FAKE_VERSION"; [[ $FAKE_VERSION == 3.1[1-9].* ]] ;;
  "-m venv"*) mkdir -p "${!#}/bin"; cp "$0" "${!#}/bin/python" ;;
  "-m pip --version") ;;
  *) echo "$*" >>"$FAKE_LOG" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scripts in a folder with a blank in its name, and a stub `python3` on PATH."""
    folder, binaries = tmp_path / "my checkout", tmp_path / "bin"
    folder.mkdir()
    binaries.mkdir()
    for name in ("setup_local.sh", "setup_cluster.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", folder / ".ci")
    write_command(binaries / "python3", FAKE_PYTHON)
    monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VERSION", "3.12.1")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("MODULES", "Python/3.12 CUDA")
    return folder


def write_command(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def installs(checkout: Path) -> list[str]:
    """What the stub Python was asked to install, in order."""
    log = checkout.parent / "log"
    return [line.split("--editable ")[1] for line in log.read_text().splitlines() if " install " in line]


def bash(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", *command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["setup_local.sh", "setup_cluster.sh", ".ci/run"])
def test_scripts_are_valid_and_executable(name: str) -> None:
    assert bash("-n", ROOT / name).returncode == 0
    assert os.access(ROOT / name, os.X_OK)


def test_setup_installs_once(checkout: Path) -> None:
    script = checkout / "setup_local.sh"
    for options in ([], [], ["--dev"], ["--dev"], [], ["--dev", "--extras", "bench,tf"]):
        done = bash(script, *options)
        assert done.returncode == 0, done.stderr
        assert f"{checkout}/dataloadenv/bin/activate" in done.stdout
    assert installs(checkout) == [
        f"{checkout}",
        f"{checkout}[dev]",
        f"{checkout}[dev,bench,tf]",
    ]
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert bash(script).returncode == 0
    assert installs(checkout)[3:] == [f"{checkout}"]


def test_setup_names_the_python_that_is_too_old(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VERSION", "3.9.18")
    done = bash(checkout / "setup_local.sh", "--python", "python3")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer; tried: python3 (3.9.18)." in done.stderr
    done = bash(checkout / "setup_local.sh", "--python", "no-such-python")
    assert "no-such-python (cannot be run)" in done.stderr
    assert not (checkout / "dataloadenv").exists()


@pytest.mark.parametrize("options", [["--fast"], ["--python"], ["--extras"]])
def test_setup_refuses_wrong_options(checkout: Path, options: list[str]) -> None:
    done = bash(checkout / "setup_local.sh", *options)
    assert (done.returncode, options[0] in done.stderr, "--help" in done.stderr) == (2, True, True)
    assert not (checkout / "dataloadenv").exists()


@pytest.mark.parametrize("script", ["setup_local.sh", "setup_cluster.sh"])
def test_setup_helps(checkout: Path, script: str) -> None:
    done = bash(checkout / script, "--help")
    assert done.returncode == 0
    assert "--dev" in done.stdout
    assert not (checkout / "dataloadenv").exists()


@pytest.mark.parametrize("kind", ["command", "function"])
def test_cluster_setup_loads_modules_first(checkout: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = 'echo "ml $*" >>"$FAKE_LOG"'
    if kind == "command":
        write_command(checkout.parent / "bin" / "ml", f"#!/usr/bin/env bash\n{body}\n")
    else:
        # How bash exports a function; like the real one, it uses a variable that is not set.
        monkeypatch.setenv("BASH_FUNC_ml%%", f"() {{ : $NOT_SET; {body}\n}}")
    done = bash(checkout / "setup_cluster.sh", "--dev")
    assert done.returncode == 0, done.stderr
    log = (checkout.parent / "log").read_text().splitlines()
    assert log[:2] == ["ml Python/3.12", "ml CUDA"]
    assert installs(checkout) == [f"{checkout}[dev]"]


def test_cluster_setup_names_the_module_that_failed(checkout: Path) -> None:
    write_command(checkout.parent / "bin" / "ml", '#!/usr/bin/env bash\n[[ "$1" != CUDA ]]\n')
    done = bash(checkout / "setup_cluster.sh")
    assert done.returncode == 1
    assert "'ml CUDA' failed" in done.stderr
    assert not (checkout / "dataloadenv").exists()


def test_ci_runs_the_command_of_the_readme(checkout: Path) -> None:
    stub = checkout / "dataloadenv/bin/python"
    stub.parent.mkdir(parents=True)
    write_command(stub, FAKE_PYTHON)
    readme = "# Title\n\n<!-- ci -->\n\n```bash\necho first && echo second >&2\n```\n\n```\nno\n```\n"
    (checkout / "README.md").write_text(readme)
    done = bash(checkout / ".ci/run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["+ echo first && echo second >&2", "first"]
    assert done.stderr == "second\n"
    log = (checkout.parent / "log").read_text().splitlines()
    assert log[-2:] == ["-m ruff check .", "-m mypy"]

    (checkout / "README.md").write_text(readme.replace("echo second", "false"))
    assert bash(checkout / ".ci/run").returncode == 1

    (checkout / "README.md").write_text("# Title\n")
    done = bash(checkout / ".ci/run")
    assert done.returncode == 1
    assert "no command below" in done.stderr


def test_readme_marks_its_test_command() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    below = lines[lines.index("<!-- ci -->") + 1 :]
    command = next(line for line in below if line and not line.startswith("```"))
    assert command == "bash setup_local.sh --dev && dataloadenv/bin/python -m pytest"
