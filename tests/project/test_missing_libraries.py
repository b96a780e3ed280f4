"""Without the libraries of some formats: what needs none works, the rest says what to install."""

import json

import h5py
import numpy as np
import pytest

from shardwright.base.formats import format_names
from tests.conformance.tools import Store, make_folder, numbered
from tests.test_import_rules import run_code

MISSING = ("crc32c", "google_crc32c", "google.protobuf", "h5py", "pyarrow", "scipy", "torchcodec")
LIBRARY = {"hdf5": "h5py", "parquet": "pyarrow", "pyarrow_ipc": "pyarrow"}
SCRIPT = f"""
import json, sys
from pathlib import Path

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name in {MISSING!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
from shardwright.base.index_files import index_files
from shardwright.base.formats import format_names, get_format
from shardwright.base.reader import open_reader
from shardwright.base.verify import verify
from shardwright.cli.main import main
from shardwright.base.open_source import open_source
import shardwright.training.loader, shardwright.training.samplers, shardwright.training.transforms, utils.utils

said = {{}}

def tell(what, work):
    try:
        said[what] = str(work())
    except Exception as error:
        said[what] = f"{{type(error).__name__}}: {{error}}"

for name in format_names():
    tell(f"read {{name}}", lambda: [label for _, label in open_reader(name, output="numpy")])
    tell(f"verify {{name}}", lambda: verify(name).ok)
    convert = lambda: get_format(name).load_converter()("images", f"new-{{name}}", progress=False).convert()
    tell(f"convert {{name}}", lambda: convert() is not None)
    said[f"command {{name}}"] = main(["convert", "images", f"command-{{name}}", "--format", name])
tell("input hdf5", lambda: open_source("a.h5"))
tell("index hdf5", lambda: index_files("a.h5"))
tell("verify indexed", lambda: verify("indexed"))
print("::" + json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each attempt, in one process without the libraries."""
    from shardwright.base.index_files import index_files

    root = tmp_path_factory.mktemp("missing")
    for name in format_names():
        Store(name, root).convert(numbered(4), name)
    make_folder(root / "images", 3)
    (root / "indexed").mkdir()
    for path in (root / "a.h5", root / "indexed" / "a.h5"):
        with h5py.File(path, "w") as file:
            file["images"] = np.zeros((4, 5, 6, 3), np.uint8)
    index_files(root / "indexed")
    return dict(json.loads(run_code(SCRIPT, root).rpartition("::")[2]))


@pytest.mark.parametrize("name", format_names())
def test_readers_need_no_library_and_converters_say_which(said: dict[str, str], name: str):
    """Fault 47."""
    assert said[f"read {name}"] == "[0, 1, 2, 3]"
    if name not in LIBRARY:
        assert said[f"verify {name}"] == "True"
        assert said[f"convert {name}"] == "True"
        assert said[f"command {name}"] == 0
        return
    for what in ("verify", "convert"):
        assert said[f"{what} {name}"].startswith("ConfigError: ")
        assert f"pip install {LIBRARY[name]}" in said[f"{what} {name}"]
    assert said[f"command {name}"] == 2


@pytest.mark.parametrize("what", ["input hdf5", "index hdf5", "verify indexed"])
def test_files_of_others_say_which_library_reads_them(said: dict[str, str], what: str):
    """Fault 47."""
    assert said[what].startswith("ConfigError: ")
    assert "pip install h5py" in said[what]
