"""A container with 1 MB of shared memory, as many have: converting and reading images needs none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shardwright.base.formats import format_names
from tests.conformance.tools import make_folder

ROOT = Path(__file__).resolve().parents[3]
SMALL = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"', "-"]
SCRIPT = """
import sys
import numpy as np
from pathlib import Path
from torch.utils.data import DataLoader
from shardwright.base.formats import format_names, get_format
from shardwright.base.reader import open_reader
from shardwright.training.loader import ThreadedLoader

class Noise:
    "Three megabytes in one batch, which processes would send through shared memory."
    def __len__(self):
        return 8
    def __getitem__(self, index):
        return np.random.default_rng(index).integers(0, 256, (350, 350, 3), np.uint8), index

for name in format_names():
    converter = get_format(name).load_converter()
    options = {"shape": (64, 64)} if converter.fixed_size else {}
    converter("images", f"out-{name}", 100, 50, 2, progress=False, **options).convert()
    reader = open_reader(f"out-{name}")
    assert len(list(DataLoader(reader, 10, num_workers=1, collate_fn=len))) == 6
    if converter.fixed_size:
        reader = open_reader(f"out-{name}", output="tensor")
        assert sum(len(batch[1]) for batch in ThreadedLoader(reader, batch_size=10)) == 60
        options = {"shape": None}
    converter(Noise(), f"noise-{name}", 8, 8, 1, progress=False, **options).convert()
    noise = open_reader(f"noise-{name}", output="numpy", check=True)
    assert all(np.array_equal(noise[n][0], Noise()[n][0]) for n in range(8))
    print(name, flush=True)
"""


def has_small() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*SMALL, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_small(), reason="nothing may be mounted here")
def test_one_megabyte_of_shared_memory_is_enough(tmp_path: Path):
    """Fault 130: image files need none, and batches that do not fit go through a pipe."""
    make_folder(tmp_path / "images", 60)
    done = subprocess.run(
        [*SMALL, sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == format_names()
