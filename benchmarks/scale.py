"""A split of many samples: time to open it, memory of its workers, and what 50 epochs leave behind.

Each measurement is a process of its own: ``python -m benchmarks.scale NAME ARGUMENTS``.
"""

import contextlib
import gc
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from shardwright.base.formats import get_format
from shardwright.base.reader import open_reader
from shardwright.training.loader import ThreadedLoader

__all__ = ["conversion_memory", "growth", "make", "open_time", "worker_memory"]

SIDE = 4
MB = 1e6


class Tiny(Dataset[Any]):
    """Images of 4x4 black pixels."""

    def __init__(self, length: int) -> None:
        self.length, self.image = length, np.zeros((SIDE, SIDE, 3), np.uint8)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.image, index % 1000


class Empty(Dataset[Any]):
    """What a DataLoader worker costs without any data."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), index


class Watched(Dataset[Any]):
    """A data set whose samples are the worker's own memory, in bytes."""

    def __init__(self, inner: Dataset[Any]) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)  # type: ignore[arg-type]

    def __getitems__(self, indices: list[int]) -> list[tuple[int, int]]:
        """Read the samples, and tell this worker's number and memory."""
        read = getattr(self.inner, "__getitems__", None)
        samples = read(indices) if read else [self.inner[i] for i in indices]
        info = get_worker_info()
        return [(0 if info is None else info.id, own_memory())] * len(samples)


def own_memory(process: str = "self", kind: str = "Private_") -> int:
    """Return the memory that only this process has, in bytes; 0 if it has ended.

    With the kind ``"Pss:"``, pages that several processes share count in equal parts.
    """
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(kind))


def make(folder: str, length: str) -> dict[str, float]:
    """Convert that many tiny images into `folder`, unless they are there."""
    target, start = Path(folder), time.perf_counter()
    marker = target / f"made-{length}"
    if not marker.exists():
        shutil.rmtree(target, ignore_errors=True)
        options: dict[str, Any] = {"images_per_file": 50_000, "batch_size": 1000, "num_workers": 2, "progress": False}
        converter = get_format("memmap").load_converter()
        converter(Tiny(int(length)), target, shape=(SIDE, SIDE), **options).convert()
        marker.touch()
    return {"seconds": time.perf_counter() - start}


def open_time(folder: str) -> dict[str, float]:
    """Open the split and read its middle sample."""
    start = time.perf_counter()
    reader = open_reader(folder, output="tensor")
    opened = time.perf_counter()
    reader[len(reader) // 2]
    return {"open_ms": 1e3 * (opened - start), "open_and_first_ms": 1e3 * (time.perf_counter() - start)}


def worker_memory(folder: str, start_method: str) -> dict[str, float]:
    """Compare a DataLoader worker that reads with one that has no data."""
    reader = open_reader(folder, output="tensor")
    ours = _per_worker(reader, start_method)
    empty = _per_worker(Empty(len(reader)), start_method)
    return {"reader_mb": ours / MB, "empty_mb": empty / MB, "unique_mb": (ours - empty) / MB}


def _per_worker(dataset: Dataset[Any], start_method: str) -> float:
    """Return the mean of the two workers' last answers."""
    order = np.random.default_rng(0).integers(0, len(dataset), 32_000).tolist()  # type: ignore[arg-type]
    options: dict[str, Any] = {"multiprocessing_context": start_method, "num_workers": 2, "batch_size": 1000}
    last = {}
    for workers, sizes in DataLoader(Watched(dataset), sampler=order, **options):
        last[int(workers[0])] = int(sizes[0])
    return sum(last.values()) / len(last)


def growth(folder: str, epochs: str) -> dict[str, float]:
    """Read that many epochs of 4,000 samples; compare memory and open files with those after two."""
    reader = open_reader(folder, output="tensor")
    loader = ThreadedLoader(reader, batch_size=100, sampler=list(range(min(len(reader), 4_000))), num_threads=2)
    before = (0, 0)
    for epoch in range(int(epochs)):
        for _ in loader:
            pass
        gc.collect()
        now = own_memory(), len(os.listdir("/proc/self/fd"))
        before = now if epoch == 1 else before
    return {"epochs": int(epochs), "memory_mb": (now[0] - before[0]) / MB, "open_files": now[1] - before[1]}


def conversion_memory(source: str, folder: str, name: str, workers: str) -> dict[str, float]:
    """Convert a folder; tell how much memory this process and its workers had more than before, at most."""
    shutil.rmtree(folder, ignore_errors=True)
    converter = get_format(name).load_converter()(source, folder, num_workers=int(workers), progress=False)
    base, peaks, done = own_memory(kind="Pss:"), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peaks.append(sum(own_memory(process, "Pss:") for process in family()) - base)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        converter.convert()
    finally:
        done.set()
        watcher.join()
    shutil.rmtree(folder)
    return {"peak_mb": max(peaks) / MB, "workers": int(workers)}


def family() -> list[str]:
    """Return the numbers of this process and of its children."""
    found = ["self"]
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = path.read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(path.parent.name)
    return found


TASKS: dict[str, Callable[..., dict[str, float]]] = {
    f.__name__: f for f in (make, open_time, worker_memory, growth, conversion_memory)
}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])))
