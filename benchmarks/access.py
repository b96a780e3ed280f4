"""Single samples in random order, and whole epochs from a cold page cache, per format."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from benchmarks.jobs import Contender, Job, Run
from benchmarks.peers.common import files_of
from benchmarks.peers.shardwright import FIXED, FLEXIBLE, stored
from shardwright.base.reader import open_reader
from shardwright.training.loader import ThreadedLoader

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("shardwright",)
READS = 512


def contenders() -> list[Contender]:
    """Return each format, and plain files beside them."""
    kinds = [*((name, "raw224") for name in FIXED), *((name, "original") for name in FLEXIBLE)]
    return [
        *(stored(name, name, "latency", (setting,), _single) for name, setting in kinds),
        *(stored(name, name, "cold", (setting,), _cold) for name, setting in kinds),
        Contender("files, open and read", ("latency",), ("original",), _single_files),
        Contender("files, open and read", ("cold",), ("original",), _cold_files),
    ]


def _single(job: Job) -> Callable[[], int]:
    reader = open_reader(job.store / "set", output="bytes")
    length = len(reader)

    def once() -> int:
        for _ in range(READS):
            reader[random.randrange(length)]
        return READS

    return once


def _single_files(job: Job) -> Callable[[], int]:
    paths = [path for path, _ in files_of(job.folder)]

    def once() -> int:
        for _ in range(READS):
            random.choice(paths).read_bytes()
        return READS

    return once


def _cold(job: Job) -> Run:
    reader = open_reader(job.store / "set", output="bytes")
    loader = ThreadedLoader(reader, batch_size=job.batch, shuffle=True, num_threads=job.threads)
    files = [path for path in job.store.rglob("*") if path.is_file()]
    return Run(lambda: sum(len(labels) for _, labels in loader), before=lambda: drop(files))


def _cold_files(job: Job) -> Run:
    paths = [path for path, _ in files_of(job.folder)]

    def once() -> int:
        for path in random.sample(paths, len(paths)):
            path.read_bytes()
        return len({path.stat().st_ino for path in paths})  # linked files are read from the disk once

    return Run(once, before=lambda: drop(paths))


def drop(files: list[Path]) -> None:
    """Have the system forget the pages of files.

    Raises
    ------
    OSError
        If it did not.
    """
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if path is files[0] and _cached(fd):
                raise OSError(f"{path} is still in the page cache: it cannot be dropped here")
        finally:
            os.close(fd)


def _cached(fd: int) -> bool:
    try:
        return os.preadv(fd, [bytearray(4096)], 0, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
