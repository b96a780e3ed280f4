"""What the machine can do at best: each limit is a loop without index, files or checks.

They take turns with the libraries, as contenders of their own.
"""

import itertools
import math
import os
import queue
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch

from benchmarks.jobs import MEAN, STD, Contender, Job, Run
from benchmarks.peers.common import files_of

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("numpy", "simplejpeg", "torch")
JPEGS = ("original", "full", "jpeg256")


def contenders() -> list[Contender]:
    """Return one limit per workload."""
    return [
        Contender("limit: memcpy gather, one thread", ("read",), ("raw224",), _gather(buffers=1)),
        Contender("limit: memcpy gather, three buffers", ("read",), ("raw224",), _gather(buffers=3)),
        Contender("limit: simplejpeg", ("decode",), ("original",), _decode(kept=0)),
        Contender("limit: simplejpeg, two batches kept", ("decode",), ("original",), _decode(kept=2)),
        Contender("limit: in-memory prototype", ("train",), ("raw256", *JPEGS), _train),
        Contender("limit: concatenate", ("convert-kept",), ("many",), _concatenate(sync=False), threads=(1,)),
        Contender("limit: concatenate + fsync", ("convert-kept",), ("many",), _concatenate(sync=True), threads=(1,)),
        Contender("limit: decoder + resize", ("convert-fixed",), ("more",), _decode_and_resize),
    ]


def on_threads(function: Callable[[Any], Any], items: Sequence[Any], threads: int) -> int:
    """Call a function for every item, on so many threads; return the number of items."""
    if threads == 1:
        for item in items:
            function(item)
        return len(items)
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)

    def work() -> None:
        while True:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            function(item)

    crew = [threading.Thread(target=work) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    return len(items)


def _gather(*, buffers: int) -> Callable[[Job], Callable[[], int]]:
    """Copy rows into batches, one after the other into so many buffers.

    One buffer stays in the processor's cache, but each batch overwrites the one before. A loader whose batches may
    be kept needs three: one in use, one ready, one that is filled.
    """

    def make(job: Job) -> Callable[[], int]:
        images = np.load(job.array)
        batches = [np.empty((job.batch, 224, 224, 3), np.uint8) for _ in range(buffers)]
        generator = np.random.default_rng(0)

        def once() -> int:
            order = generator.permutation(len(images))
            for number, start in enumerate(range(0, len(order), job.batch)):
                rows = order[start : start + job.batch]
                np.take(images, rows, axis=0, out=batches[number % buffers][: len(rows)], mode="clip")
            return len(order)

        return once

    return make


def _decode(*, kept: int) -> Callable[[Job], Callable[[], int]]:
    """Decode every image, and keep those of the last `kept` batches, as a loader and its user do."""

    def make(job: Job) -> Callable[[], int]:
        files = list(enumerate(path.read_bytes() for path, _ in files_of(job.folder)))
        places: list[Any] = [None] * (kept * job.batch)

        def one(item: tuple[int, bytes]) -> None:
            pixels = _pixels(item[1])
            if places:
                places[item[0] % len(places)] = pixels

        return lambda: on_threads(one, files, job.threads)

    return make


def _pixels(data: bytes) -> Any:
    return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)


def _decode_and_resize(job: Job) -> Callable[[], int]:
    paths = [path for path, _ in files_of(job.folder)]

    def one(path: Path) -> None:
        _resized(torch.from_numpy(_pixels(path.read_bytes())))

    return lambda: on_threads(one, paths, job.threads)


def _resized(pixels: torch.Tensor) -> torch.Tensor:
    batch = pixels.permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(batch, size=(224, 224), mode="bilinear", antialias=True)


def _train(job: Job) -> Callable[[], int]:
    """Decode, crop, resize, flip and normalize samples that are in memory, into reused batches."""
    raw = job.setting.startswith("raw")
    samples = np.load(job.array) if raw else [path.read_bytes() for path, _ in files_of(job.folder)]
    ring = [torch.empty(job.batch, 224, 672) for _ in range(4)]
    factor = (1 / (255 * torch.tensor(STD))).repeat(224)
    offset = (-torch.tensor(MEAN) / torch.tensor(STD)).repeat(224)

    def one(item: tuple[int, int]) -> None:
        place, index = item
        pixels = torch.from_numpy(samples[index] if raw else _pixels(samples[index]))
        top, left, height, width = _window(*pixels.shape[:2])
        part = pixels[top : top + height, left : left + width].contiguous()
        small = _resized(part)
        if random.random() < 0.5:
            small = small.flip(-1)
        row = ring[place // job.batch % len(ring)][place % job.batch]
        row.copy_(small[0].permute(1, 2, 0).reshape(224, 672))
        torch.addcmul(offset, row, factor, out=row)

    order = np.random.default_rng(0)
    return lambda: on_threads(one, list(enumerate(order.permutation(len(samples)).tolist())), job.threads)


def _window(height: int, width: int) -> tuple[int, int, int, int]:
    """Draw as RandomResizedCrop does: top, left, height, width."""
    for _ in range(10):
        area = height * width * random.uniform(0.08, 1.0)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, height - h), random.randint(0, width - w), h, w
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _concatenate(*, sync: bool) -> Callable[[Job], Run]:
    def make(job: Job) -> Run:
        paths = [path for path, _ in files_of(job.folder)]
        numbers = itertools.count()

        def once() -> int:
            with (job.scratch / f"{next(numbers)}.bin").open("wb", buffering=0) as out:
                for path in paths:
                    out.write(path.read_bytes())
                if sync:
                    os.fsync(out.fileno())
            return len(paths)

        return Run(once, before=os.sync)

    return make
