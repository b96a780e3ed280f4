"""Ten million samples are planned, indexed, opened and shuffled in a gibibyte: none is an object of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# The limit is on what the process allocates after its imports.
SCRIPT = """
import os, resource, sys, time
from pathlib import Path

import numpy as np

from shardwright.base.split.part import Part
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import write_bytes, write_file
from shardwright.base.fields import Field
from shardwright.base.formats import get_format
from shardwright.base.reader import open_reader
from shardwright.base.split.index import index_dtype
from shardwright.base.split.manifest import Shard
from shardwright.base.storage.atomic import StoredFile
from shardwright.base.storage.strict_json import canonical_json
from shardwright.base.writing.plan import Plan
from shardwright.base.writing.finish import finalize
from shardwright.folders.files import FileList, PackedNames
from shardwright.folders.source import FolderSource
from shardwright.base.writing.listing import read_listing, write_listing
from shardwright.training.samplers import GlobalSampler

COUNT, PER_SHARD, SIZE = 10_000_000, 100_000, 1000
get_format("parquet").load_converter()
root = Path(sys.argv[1])
images = root / "images"
images.mkdir()
status = Path("/proc/self/status").read_text()
before = int(status.split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (before + 2**30, before + 2**30))
clock = time.monotonic()

def done(what):
    global clock
    now = time.monotonic()
    print(f"{what}: {now - clock:.2f} s", flush=True)
    clock = now

def scanned():
    "A folder source of files n000/00000000.jpg, as a scan packs it."
    numbers = np.arange(COUNT)
    names = np.empty((COUNT, 17), np.uint8)
    names[:] = np.frombuffer(b"n000/00000000.jpg", np.uint8)
    for place in range(8):
        names[:, 12 - place] = 48 + numbers // 10**place % 10
    paths = PackedNames.packed(names.tobytes(), np.arange(COUNT + 1, dtype=np.int64) * 17)
    classes = tuple(f"n{n:03d}" for n in range(1000))
    files = FileList(paths, np.full(COUNT, SIZE), "state", numbers * 1000 // COUNT, classes)
    return FolderSource(images, files=files)

source = scanned()
done("scan")
paths = SplitPaths(root, "train")
for folder in (paths.metadata, paths.data):
    folder.mkdir()
fields = (Field("image", "image"), source.fields["label"])
options = {"images_per_file": PER_SHARD, "encoding": "png", "quality": None, "on_error": "raise"}
plan = Plan.of(source, "parquet", "train", fields, options)
plan.write(paths.plan)
write_file(paths.listing, lambda file: write_listing(source, file))
print(f"plan {paths.plan.stat().st_size:,} bytes, listing {paths.listing.stat().st_size:,} bytes")
done("plan and listing")
content = source.content()
del source
again = read_listing(paths.listing, images)
assert again.content() == content and again.name(COUNT - 1) == "n000/09999999.jpg"
labels = again.listing()["labels"]
del again
done("listing read")
for shard in range(plan.num_shards):
    records = np.zeros(PER_SHARD, index_dtype(fields))
    records["image_offset"] = np.arange(PER_SHARD) * SIZE
    records["image_length"] = SIZE
    records["label"] = labels[shard * PER_SHARD : (shard + 1) * PER_SHARD]
    file = paths.data / f"{paths.shard_name(shard, plan.num_shards)}.parquet"
    with file.open("wb") as sparse:
        sparse.truncate(PER_SHARD * SIZE)
    stored = StoredFile(file.name, PER_SHARD * SIZE, "0" * 16)
    Part(Shard(PER_SHARD, (stored,)), {"image": 0}, {"image": {"RGB": PER_SHARD}}, []).write(paths.part(shard), records)
del labels
done("parts")
finalize(root)
print(f"index {paths.index.stat().st_size:,} bytes, manifest {paths.manifest.stat().st_size:,} bytes")
done("index and manifest")
reader = open_reader(root)
assert len(reader) == COUNT and reader.targets[-1] == 999
done("open")
ends = open_reader(root, check=False).read_columns([0, COUNT - 1])["image"]
assert [bytes(value) for value in ends] == [bytes(SIZE)] * 2
done("read")
for shuffle in ("full", "block"):
    samplers = [GlobalSampler(reader, shuffle=shuffle, rank=rank, num_replicas=2) for rank in range(2)]
    for sampler in samplers:
        sampler.load_state_dict({"seed": 0, "num_samples": COUNT, "epoch": 1, "position": COUNT - 10})
    assert len({number for sampler in samplers for number in sampler}) == 10
    done(f"shuffle ({shuffle}), by two ranks")
with open("/proc/self/status") as file:
    print(next(line for line in file if line.startswith("VmHWM")).strip())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit on memory is set as on Linux")
def test_ten_million_samples_take_less_than_a_gibibyte(tmp_path: Path) -> None:
    """Faults 128, 129: and so do two reads from ten sparse gigabytes."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "shuffle (block), by two ranks" in done.stdout
    sys.stdout.write(done.stdout)  # pytest -s shows the times
    shutil.rmtree(tmp_path)  # a gigabyte
