"""What a read of a split of few or many shards costs: ``python -m benchmarks.reads FOLDER [SHARDS ...]``.

The splits are made in FOLDER, if they are not there; nothing else of it is touched. Images are so small that what
is left is the library's own time, and the opening of shard files.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale import Tiny
from shardwright.base.merge import merge
from shardwright.base.reader import Reader, open_reader
from shardwright.pyarrow_ipc.converter import IpcConverter

__all__ = ["SHARDS", "made", "measured"]

SHARDS = (1, 1_282, 10_000)
SAMPLES = 10_000
BATCH = 64
ROUNDS = 15


def made(folder: Path, shards: int) -> Path:
    """Return the path of a split of so many shards, and about `SAMPLES` samples; it is made if it is not there."""
    path, per_shard = folder / f"{shards}-shards", max(1, SAMPLES // shards)
    if not (path / "metadata/train.json").exists():
        options: dict[str, Any] = {"images_per_file": per_shard, "num_workers": 0, "progress": False}
        one = folder / f"{per_shard}-samples"
        IpcConverter(Tiny(per_shard), one, **options).convert()
        merge([open_reader(one)] * shards, path)  # links of one shard: 10,000 of their own take minutes
    return path


def measured(reader: Reader) -> dict[str, float]:
    """Return the median time, in microseconds, of each way to ask, everything being in the page cache."""
    rng = np.random.default_rng(0)
    single = rng.integers(0, len(reader), 200).tolist()
    batches = rng.integers(0, len(reader), (10, BATCH)).tolist()
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "len": (200, lambda: [len(reader) for _ in range(200)]),
        "reader[i]": (len(single), lambda: [reader[i] for i in single]),
        f"__getitems__({BATCH})": (len(batches), lambda: [reader.__getitems__(b) for b in batches]),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, (count, ask) in ways.items():
            start = time.perf_counter()
            ask()
            times[name].append((time.perf_counter() - start) / count * 1e6)
    return {name: round(statistics.median(found[1:]), 2) for name, found in times.items()}  # the first one warms up


def main(folder: str, *shards: str) -> None:
    """Print one line of JSON per number of shards."""
    for count in map(int, shards or SHARDS):
        reader = open_reader(made(Path(folder), count), output="bytes")
        print(json.dumps({"shards": len(reader.manifest.shards), "microseconds": measured(reader)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
