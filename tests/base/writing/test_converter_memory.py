"""What a conversion holds in memory does not grow with a shard, in any format, however the samples come."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardwright.base.formats import format_names
from shardwright.base.split.manifest import load_manifest
from shardwright.base.split.paths import SplitPaths

ROOT = Path(__file__).resolve().parents[3]
COUNT, SHAPE = 600, (320, 250)  # 140 MB, encoded or not
ROOM = 64 * 2**20
SCRIPT = """
import resource, sys
from pathlib import Path
from shardwright.base.formats import get_format
from shardwright.base.open_source import open_source

name, count, shape, room = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3]), int(sys.argv[4])
converter = get_format(name).load_converter()
options = {"shape": shape} if converter.fixed_size else {}

class Some:
    "The first samples of the folder, or all."
    def __init__(self, folder, count):
        self.source, self.count = open_source(folder), count
    def __len__(self):
        return self.count
    def __getitem__(self, index):
        return tuple(self.source[index].values())

def convert(number, out):
    converter(Some("images", number), out, count, 5, 0, progress=False, **options).convert()

convert(10, "first")  # once, so that everything is imported
used = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + room, used + room))
convert(count, "second")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit on memory is set as on Linux")
@pytest.mark.parametrize("name", format_names())
def test_one_large_shard_is_converted_in_little_memory(name: str, tmp_path: Path):
    """Fault 132."""
    first = tmp_path / "images" / "cat" / "000.png"
    first.parent.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    Image.fromarray(pixels).save(first, compress_level=0)
    for number in range(1, COUNT):
        os.link(first, first.with_name(f"{number:03d}.png"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, str(COUNT), str(SHAPE), str(ROOM)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    manifest = load_manifest(SplitPaths(tmp_path / "second", "train"))
    assert [shard.num_samples for shard in manifest.shards] == [COUNT]
    assert manifest.shard_files[0].size > 2 * ROOM
    for file in (tmp_path / "second" / "data").iterdir():
        file.unlink()
