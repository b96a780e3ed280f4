"""What a measured library is asked to do, and what it offers in return.

A peer is a module with ``PACKAGES`` (the distributions it needs, for the report) and
``contenders()``. It imports its library inside of functions only, so that a missing one is
a reason to skip the peer and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["BATCH", "KEPT", "MEAN", "STD", "Contender", "Job", "Run", "count_images"]

BATCH = 64
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

KEPT = ("original", "full", "jpeg256", "more", "many")
"""Settings that are files of JPEG; the others are arrays."""


@dataclass(frozen=True)
class Job:
    """One workload on one storage setting.

    Parameters
    ----------
    work : str
        ``read``, ``decode``, ``train``, ``convert-kept``, ``convert-fixed``, ...
    setting : str
        ``raw224``, ``raw256``, ``jpeg256``, ``full`` or ``original``.
    threads : int
        Threads, or worker processes where a library has those; with 1, libraries behind a
        DataLoader read in the training process.
    data : Path
        What `data.make_settings` made.
    store : Path
        Folder of the contender's own form of the setting.
    scratch : Path
        Empty folder for what a run writes.
    """

    work: str
    setting: str
    threads: int
    data: Path
    store: Path
    scratch: Path
    batch: int = BATCH

    @property
    def folder(self) -> Path:
        """The setting's JPEGs as class folders; for raw settings the originals."""
        return self.data / "folders" / (self.setting if self.setting in KEPT else "original")

    @property
    def array(self) -> Path:
        """The ``.npy`` file of a raw setting, uint8, NxHxWx3."""
        return self.data / f"{self.setting}.npy"

    @property
    def labels(self) -> Path:
        """The ``.npy`` file of its labels, int64."""
        return self.data / f"{self.setting}.labels.npy"

    @property
    def workers(self) -> int:
        """``num_workers`` of a DataLoader: none for one thread."""
        return self.threads if self.threads > 1 else 0

    def with_store(self, name: str) -> "Job":
        """Return the job with the store of a contender."""
        return replace(self, store=self.store / name / self.setting)


@dataclass(frozen=True)
class Run:
    """What is timed.

    Parameters
    ----------
    once : callable
        Does the work one time and returns how many images that were.
    before, after : callable, optional
        Run untimed before and after each time.
    """

    once: Callable[[], int]
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None


@dataclass(frozen=True)
class Contender:
    """One way of one library to do some workloads.

    Parameters
    ----------
    name : str
        For the report.
    works : tuple of str
    settings : tuple of str
    make : callable
        Job to what is timed; opening and compiling happen here.
    prepare : callable, optional
        Converts the setting into ``job.store``, once.
    store : str
        Name of that folder; contenders of one store share it.
    threads : tuple of int
        Numbers of threads it can be measured with.
    """

    name: str
    works: tuple[str, ...]
    settings: tuple[str, ...]
    make: Callable[[Job], Run | Callable[[], int]]
    prepare: Callable[[Job], None] | None = None
    store: str = ""
    threads: tuple[int, ...] = (1, 2)


def count_images(batches: Iterator[Any]) -> int:
    """Go through batches of (images, labels) and return the number of labels."""
    return sum(len(batch[-1]) for batch in batches)
