"""Which part may import which, and what an import may do: the rules of the architecture."""

import ast
import graphlib
import importlib.metadata
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(path for path in (ROOT / "datasets").iterdir() if path.is_dir() and path.name != "__pycache__")
FORMATS = sorted(path.name for path in PACKAGES if list(path.glob("*_converter.py")))
READERS = [f"datasets.{name}.{name}_reader" for name in FORMATS]

# What a format takes from another one: both are made of Arrow columns, which base must not know.
SHARED = {"parquet": tuple(f"shardwright.pyarrow_ipc.arrow_{name}" for name in ("columns", "features", "rows"))}

# The sub-modules of Hugging Face's `datasets`, which ours must not shadow.
THEIR_NAMES = set(
    """arrow_dataset arrow_reader arrow_writer builder combine commands config data_files
    dataset_dict distributed download exceptions features filesystems fingerprint formatting hub
    info inspect io iterable_dataset load naming packaged_modules parallel search splits streaming
    table utils""".split()
)


# Hugging Face's `datasets`, where it is installed, would be imported first, and pyarrow with it.
WITHOUT_THEIRS = f"""
import sys, types
sys.modules["datasets"] = types.ModuleType("datasets")
sys.modules["datasets"].__path__ = [{str(ROOT / "datasets")!r}]
"""


def run_code(code: str, cwd: Path, before: str = WITHOUT_THEIRS) -> str:
    """What the code prints in a fresh Python that finds our sources wherever it runs."""
    done = subprocess.run(
        [sys.executable, "-c", before + textwrap.dedent(code)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_of(*tops: str) -> list[str]:
    """Every module below the named folders, by its import name."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for top in tops
        for path in (ROOT / top).rglob("*.py")
        if path.name != "__main__.py"
    )


def test_the_installed_library_is_this_checkout() -> None:
    from shardwright.base import errors

    found = Path(errors.__file__)
    assert found.is_relative_to(ROOT), f"these tests would test {found}; run: bash setup_local.sh --dev"


def parsed(*tops: str) -> Iterator[tuple[str, ast.AST]]:
    """Every syntax node below the named folders, with the place it stands at."""
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def imports(*tops: str) -> Iterator[tuple[str, str]]:
    """Every imported module below the named folders, with its place; also by import_module."""
    for place, node in parsed(*tops):
        if isinstance(node, ast.Import):
            yield from ((place, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place}: relative import; write the full name"
            yield from ((place, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            target = node.args[0]
            if isinstance(target, ast.Constant):
                yield place, str(target.value)


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_datasets_never_imports_utils() -> None:
    assert [found for found in imports("datasets") if is_in(found[1], "utils")] == []


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """Those of the known modules that a file imports, anywhere in it, but not for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body.clear()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if names <= known else names | {str(node.module)}
    return found & known


def test_no_module_imports_itself_by_way_of_others() -> None:
    files = {}
    for path in (ROOT / "datasets").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        files[name] = path
    graph = {name: imported_modules(path, files.keys() - {name}) for name, path in files.items()}
    assert "shardwright.base.split.published" in graph["shardwright.base.reader"], (
        "the graph lacks an import that is there"
    )
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules of a circle


def test_base_imports_no_format_and_no_format_library() -> None:
    formats = [f"datasets.{name}" for name in FORMATS]
    assert formats, "no format found: FORMATS looks in the wrong place"
    banned = (*formats, "h5py", "pyarrow", "tarfile")
    assert [found for found in imports("datasets/base") if is_in(found[1], *banned)] == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_imports_base_and_its_own_library(name: str) -> None:
    found = {module for _, module in imports(f"datasets/{name}")}
    own = {module for module in found if is_in(module, "datasets")}
    allowed = ("shardwright.base", f"datasets.{name}", *SHARED.get(name, ()))
    assert {module for module in own if not is_in(module, *allowed)} == set()
    third_party = {module.split(".")[0] for module in found - own} - sys.stdlib_module_names
    assert len(third_party - {"numpy"}) <= 1, third_party


def test_readers_load_no_format_library(tmp_path: Path) -> None:
    # torch itself imports tarfile; forgetting it shows whether a reader would import it.
    code = f"""
        import importlib, sys, torch, torchvision
        sys.modules.pop("tarfile", None)
        for name in {READERS!r}:
            importlib.import_module(name)
        print(sorted({{"h5py", "pyarrow", "tarfile", "webdataset"}} & set(sys.modules)))
    """
    assert READERS, "no reader found: READERS looks in the wrong place"
    assert run_code(code, tmp_path) == "[]\n"


def test_top_folders_are_namespaces_without_loose_modules() -> None:
    for top in ("datasets", "utils"):
        assert not (ROOT / top / "__init__.py").exists()
    assert list((ROOT / "datasets").glob("*.py")) == []


def test_packages_are_typed_and_clear_of_hugging_faces_names() -> None:
    names = {path.name for path in PACKAGES}
    assert names & THEIR_NAMES == set()
    try:
        files = importlib.metadata.files("datasets") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    theirs = {path.parts[1].removesuffix(".py") for path in files if path.parts[0] == "datasets"}
    assert names & theirs == set()
    assert [path for path in PACKAGES if not (path / "__init__.py").is_file()] == []
    assert [path for path in PACKAGES if not (path / "py.typed").is_file()] == []
    assert (ROOT / "utils/py.typed").is_file()


def test_nothing_edits_the_import_path() -> None:
    tops = [top for top in ("datasets", "utils", "examples", "benchmarks") if (ROOT / top).is_dir()]
    banned = ("sys.path", "site.addsitedir", "sys.meta_path", "sys.path_hooks")
    found = [place for place, node in parsed(*tops) if isinstance(node, ast.Attribute) and ast.unparse(node) in banned]
    assert found == []


def test_importing_has_no_side_effects(tmp_path: Path) -> None:
    code = f"""
        import importlib, logging, multiprocessing, os, random, signal, sys, threading, warnings
        import h5py, numpy, PIL.Image, PIL.ImageFile, pyarrow.parquet, simplejpeg, torch
        import torchvision, tqdm, xxhash

        def state():
            return [repr(part) for part in (
                sys.path, sys.meta_path, sys.argv, dict(os.environ), os.getcwd(), os.listdir(),
                [signal.getsignal(number) for number in signal.valid_signals()],
                threading.enumerate(), warnings.filters, logging.root.handlers,
                multiprocessing.get_start_method(allow_none=True),
                torch.multiprocessing.get_sharing_strategy(), torch.get_num_threads(),
                torch.get_default_dtype(), torch.get_rng_state().sum(), random.getstate(),
                numpy.random.get_state(), PIL.Image.MAX_IMAGE_PIXELS,
                PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
            )]

        before = state()
        for name in {modules_of("datasets", "utils")!r}:
            importlib.import_module(name)
        changed = [pair for pair in zip(before, state()) if pair[0] != pair[1]]
        assert not changed, changed
    """
    assert run_code(code, tmp_path) == ""


def test_a_foreign_utils_module_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "utils.py").write_text("MINE = 1\n")
    code = f"""
        import importlib, utils
        assert utils.MINE == 1
        for name in {modules_of("datasets")!r}:
            importlib.import_module(name)
    """
    assert run_code(code, tmp_path, before="") == ""
