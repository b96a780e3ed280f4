"""Random damage: only errors of this library, no hang, no crash; in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.base.index_files.files import WRITERS, foreign

ROOT = Path(__file__).resolve().parents[3]

FUZZ = """
import os, random, shutil, sys
from pathlib import Path
from shardwright.base.index_files import index_files
from shardwright.base.errors import ShardwrightError
from shardwright.base.reader import open_reader

os.fsync = lambda fd: None
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
path = next(p for p in folder.iterdir() if p.is_file())
good, rng, refused = path.read_bytes(), random.Random(path.name), 0
for _ in range(rounds):
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 3))):
        edge = rng.randrange(min(len(data), 2000))
        where = rng.choice((rng.randrange(len(data)), edge, -1 - edge))
        data[where] = rng.choice((data[where] ^ 1 << rng.randrange(8), 0, 255))
    path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)
    shutil.rmtree(folder / "metadata", ignore_errors=True)
    try:
        index_files(path)
        reader = open_reader(folder, output="numpy")
    except ShardwrightError:
        refused += 1
        continue
    for number in range(len(reader)):
        try:
            reader[number]
        except ShardwrightError:
            refused += 1
print(refused)
"""


@foreign
@pytest.mark.parametrize(
    "writer", ["webdataset", "tarfile PAX", "pyarrow Parquet", "pyarrow IPC file", "numpy", "h5py"]
)
def test_random_damage_ends_in_errors_of_this_library(writer: str, tmp_path: Path) -> None:
    """Fault 126: and every run ends."""
    WRITERS[writer][1](tmp_path)
    for path in sorted(tmp_path.iterdir())[1:]:  # one file is enough
        path.unlink()
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path), "60"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
