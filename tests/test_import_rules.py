"""Which part may import which, and what an import may do: the rules of the architecture."""

import ast
import graphlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import shardwright

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "shardwright"
FACADES = ("datasets", "utils")
TECHNOLOGIES = sorted(
    path.name
    for path in LIBRARY.iterdir()
    if path.is_dir() and path.name not in {"base", "cli", "training", "__pycache__"}
)
READERS = [f"shardwright.{name}.reader" for name in TECHNOLOGIES if (LIBRARY / name / "reader.py").is_file()]

# Each row may import itself and all rows below it. A row is a set of modules and packages, by their names
# below `shardwright`; a package stands for all that is in it, but for what has a row of its own.
LAYERS: list[set[str]] = [
    {"", "__main__"},  # the public names, each loaded when it is asked for
    {"cli"},
    {*TECHNOLOGIES, "training"},
    {"base.converter", "base.export", "base.index_files", "base.merge", "base.verify", "base.verify_shard"},
    {"base.writing"},
    {
        "base.open_source",
        "base.relabel",
        "base.decided_labels",
        "base.wrapped_source",
        "base.inputs",
        "base.file_source",
        "base.table_source",
        "base.view_source",
    },
    {"base.reader", "base.views", "base.source"},
    {"base.split"},
    {"base.values"},
    {"base.images", "base.storage"},
    {"base.errors", "base.fields", "base.arguments", "base.progress", "base.workers", "base.formats", "base"},
]
# Technologies that take something from another one.
SIDEWAYS = {
    ("parquet", "pyarrow_ipc"),  # both are made of Arrow columns
    ("tar", "folders"),  # an archive of class folders is such a folder
    ("annotations", "folders"),  # YOLO's images are a folder; ImageNet's kit
    ("torch_datasets", "folders"),  # torchvision's data sets are files
    ("arrays", "hdf5"),  # ArraySource takes a member of an HDF5 file
}

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
    found = Path(str(shardwright.__file__))
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


def test_the_library_imports_no_facade() -> None:
    assert [found for found in imports("shardwright") if is_in(found[1], *FACADES)] == []


def layer_of(module: str) -> int | None:
    """The row of a module, told by the longest name in the table that it lies in."""
    name = module.removeprefix("shardwright").removeprefix(".")
    rows = {part: row for row, parts in enumerate(LAYERS) for part in parts}
    while name not in rows:
        if "." not in name:
            return None
        name = name.rpartition(".")[0]
    return rows[name]


def breaches(root: Path) -> list[str]:
    """Every import that the table of layers does not allow, as "importer -> imported"."""
    files = library_files(root)
    found = []
    for module, path in files.items():
        here = layer_of(module)
        assert here is not None, f"{module} has no layer: put it into the table"
        for other in sorted(imported_modules(path, files.keys() - {module}, for_typing=True)):
            there = layer_of(other)
            package, theirs = (name.split(".")[1] if "." in name else "" for name in (module, other))
            sideways = here == there and "base" not in (package, theirs) and package != theirs
            allowed = (package, theirs) in SIDEWAYS or not sideways
            if there is None or there < here or not allowed:
                found.append(f"{module} -> {other}")
    return found


def library_files(root: Path) -> dict[str, Path]:
    """Every module of a tree that holds `shardwright`, by its import name."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (root / "shardwright").rglob("*.py")
    }


def test_each_layer_imports_only_those_below_it() -> None:
    assert breaches(ROOT) == []


def test_a_wrong_import_is_a_breach(tmp_path: Path) -> None:
    shutil.copytree(LIBRARY, tmp_path / "shardwright")
    for module, line, found in (
        ("base/storage/npy.py", "from shardwright.base.split import manifest", "base.split"),
        ("base/split/index.py", "def f():\n    import shardwright.tar.reader", "tar.reader"),
        ("memmap/reader.py", "from shardwright.hdf5.reader import HDF5Reader", "hdf5.reader"),
        ("training/work.py", "import shardwright.cli.main", "cli.main"),
    ):
        path = tmp_path / "shardwright" / module
        text = path.read_text()
        path.write_text(f"{text}\n{line}\n")
        wrong = breaches(tmp_path)
        assert [place for place in wrong if found in place], module
        path.write_text(text)


def imported_modules(path: Path, known: set[str], for_typing: bool = False) -> set[str]:
    """Those of the known modules that a file imports, anywhere in it; those for type checkers if asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_typing:
            node.body.clear()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in names}
    return found & known


def graph_of(root: Path) -> dict[str, set[str]]:
    """Module to the modules that it imports, but for the public names, which are loaded when they are asked for."""
    files = library_files(root)
    return {
        name: imported_modules(path, files.keys() - {name, "shardwright"})
        for name, path in files.items()
        if name != "shardwright"
    }


def packages_of(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between packages: a package is a folder, and each module of `base` itself one of its own."""

    def package(name: str) -> str:
        parts = name.split(".")
        return ".".join(parts[:3] if parts[1:2] == ["base"] else parts[:2])

    packages: dict[str, set[str]] = {}
    for name, others in graph.items():
        own = packages.setdefault(package(name), set())
        own.update(package(other) for other in others)
        own.discard(package(name))
    return packages


def test_no_module_and_no_package_imports_itself_by_way_of_others() -> None:
    graph = graph_of(ROOT)
    assert "shardwright.base.split.split" in graph["shardwright.base.reader"], "the graph lacks an import that is there"
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules of a circle
    graphlib.TopologicalSorter(packages_of(graph)).prepare()


def test_a_circle_between_packages_is_found(tmp_path: Path) -> None:
    shutil.copytree(LIBRARY, tmp_path / "shardwright")
    (tmp_path / "shardwright/hdf5/odd.py").write_text("import shardwright.arrays.export\n")
    graph = graph_of(tmp_path)
    graphlib.TopologicalSorter(graph).prepare()
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(packages_of(graph)).prepare()


def test_base_imports_no_technology_and_none_of_their_libraries() -> None:
    banned = (*(f"shardwright.{name}" for name in TECHNOLOGIES), "h5py", "pyarrow", "tarfile")
    assert len(TECHNOLOGIES) > 5, "no technology found: TECHNOLOGIES looks in the wrong place"
    assert [found for found in imports("shardwright/base") if is_in(found[1], *banned)] == []


@pytest.mark.parametrize("name", sorted(Path(reader.replace(".", "/")).parent.name for reader in READERS))
def test_a_format_imports_base_and_its_own_library(name: str) -> None:
    found = {module for _, module in imports(f"shardwright/{name}") if not is_in(module, "shardwright")}
    third_party = {module.split(".")[0] for module in found} - sys.stdlib_module_names
    assert len(third_party - {"numpy"}) <= 1, third_party


# What the library takes from others' private parts, and why.
FOREIGN = {
    "_fields": "the names of a named tuple, which has no other way to give them",
    "_exit": "os: a forked process ends without running its parent's exit handlers",
    "_C": "torch: the resize that writes channels-last at once; guarded, with a public way beside it",
    "_nn": "torch: as _C",
    "_upsample_bilinear2d_aa": "torch: as _C",
    # torchvision's data sets keep the lists of their files in these, and nowhere else.
    **dict.fromkeys("_image_files _labels _target_types _images _segs _bin_labels _samples".split(), "torchvision"),
}
# The hooks that a subclass overrides, and those who call them.
HOOKS = {"_custom_collate_fn", "_init_arrays", "_write_data_to_disk", "_open_shard", "_locate", "_read_scalars",
         "_shard_extras", "_split_extras", "_stored_field", "_restored", "_options"}  # fmt: skip


def private_reads(root: Path) -> list[str]:
    """Every `x._name` where `x` is not self, cls or super(), and no module of the same folder defines the name."""
    defined: dict[Path, set[str]] = {}
    for path in (root / "shardwright").rglob("*.py"):
        names = defined.setdefault(path.parent, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
    found = []
    for path in sorted((root / "shardwright").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
                continue
            own = ast.unparse(node.value) in {"self", "cls", "super()"}
            known = node.attr in defined[path.parent] or node.attr in HOOKS or node.attr in FOREIGN
            if not own and not known:
                found.append(f"{path.relative_to(root)}:{node.lineno} {ast.unparse(node)}")
    return found


def test_no_package_reads_private_parts_of_another() -> None:
    assert private_reads(ROOT) == []


def test_a_look_at_private_parts_is_found(tmp_path: Path) -> None:
    shutil.copytree(LIBRARY, tmp_path / "shardwright")
    with (tmp_path / "shardwright/cli/info.py").open("a") as file:
        file.write("\n\ndef f(reader):\n    return reader._split_that_is_private\n")
    assert any("_split_that_is_private" in place for place in private_reads(tmp_path))


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
    for top in FACADES:
        assert not (ROOT / top / "__init__.py").exists()
    assert list((ROOT / "datasets").glob("*.py")) == []


def test_facades_hold_exactly_the_agreed_paths_and_only_pass_on() -> None:
    names = ("memmap", "hdf5", "parquet", "pyarrow_ipc", "tar")
    wanted = {f"datasets/{name}/{name}_{door}.py" for name in names for door in ("converter", "reader")}
    wanted |= {f"utils/{name}.py" for name in ("utils", "loader", "transforms", "samplers", "distributed")}
    found = {path.relative_to(ROOT).as_posix() for top in FACADES for path in (ROOT / top).rglob("*.py")}
    assert {path for path in found if not path.endswith("__init__.py")} == wanted
    for name in found:
        tree = ast.parse((ROOT / name).read_text())
        kinds = [type(node) for node in tree.body[1:]]
        assert kinds == ([] if name.endswith("__init__.py") else [ast.ImportFrom, ast.Assign]), name


def test_packages_are_typed_and_clear_of_hugging_faces_names() -> None:
    packages = [path for path in (ROOT / "datasets").iterdir() if path.is_dir() and path.name != "__pycache__"]
    names = {path.name for path in packages}
    assert names & THEIR_NAMES == set()
    try:
        files = importlib.metadata.files("datasets") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    theirs = {path.parts[1].removesuffix(".py") for path in files if path.parts[0] == "datasets"}
    assert names & theirs == set()
    assert [path for path in packages if not (path / "__init__.py").is_file()] == []
    assert [path for path in packages if not (path / "py.typed").is_file()] == []
    assert (ROOT / "utils/py.typed").is_file()
    assert (LIBRARY / "py.typed").is_file()


def test_nothing_edits_the_import_path() -> None:
    tops = [top for top in ("shardwright", *FACADES, "examples", "benchmarks") if (ROOT / top).is_dir()]
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
        for name in {modules_of("shardwright", *FACADES)!r}:
            importlib.import_module(name)
        changed = [pair for pair in zip(before, state()) if pair[0] != pair[1]]
        assert not changed, changed
    """
    assert run_code(code, tmp_path) == ""


def test_modules_of_ones_own_called_utils_and_datasets_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "utils.py").write_text("MINE = 1\n")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").write_text("MINE = 2\n")
    code = f"""
        import importlib, sys
        # An editable installation also finds the facades beside somebody's own package.
        sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder)]
        import datasets, utils
        assert (utils.MINE, datasets.MINE) == (1, 2)
        for name in {modules_of("shardwright")!r}:
            importlib.import_module(name)
        from shardwright import ParquetConverter, ResizeAndConvert
        for name in ("utils.utils", "datasets.parquet.parquet_reader"):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                print(error)
    """
    printed = run_code(code, tmp_path, before="")
    assert "No module named 'utils.utils'; 'utils' is not a package" in printed
    assert "No module named 'datasets.parquet'" in printed
    (tmp_path / "utils.py").unlink()
    shutil.rmtree(tmp_path / "datasets")
    run_code("import utils.utils, datasets.parquet.parquet_reader", tmp_path)


def test_public_names_are_sorted_and_each_has_one_home() -> None:
    tree = ast.parse((LIBRARY / "__init__.py").read_text())
    typed = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(shardwright.__all__) == list(shardwright.__all__)
    assert typed == shardwright._HOME
    assert set(shardwright.__all__) == set(typed)
    assert [name for name in shardwright.__all__ if getattr(shardwright, name).__name__ != name] == []
    assert set(shardwright.__all__) <= set(dir(shardwright))
    with pytest.raises(AttributeError, match="no attribute 'Parquet'"):
        _ = shardwright.Parquet


def test_the_library_is_imported_without_what_it_needs_later(tmp_path: Path) -> None:
    heavy = ("torch", "torchvision", "numpy", "h5py", "pyarrow", "PIL")
    assert run_code(f"import shardwright, sys; print([n for n in {heavy} if n in sys.modules])", tmp_path) == "[]\n"


def test_reading_a_parquet_split_imports_no_format_library(tmp_path: Path) -> None:
    split = ROOT / "tests/data/golden/parquet"
    code = f"""
        import sys
        from shardwright import ParquetReader
        ParquetReader({str(split)!r})[0]
        print([name for name in ("h5py", "pyarrow") if name in sys.modules])
    """
    assert run_code(code, tmp_path) == "[]\n"
