"""Hugging Face datasets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.jobs import Contender, Job
from benchmarks.peers.common import Batches, contenders_of, records, torch_loader

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("datasets",)


def contenders() -> list[Contender]:
    """Return an Arrow data set with binary images."""
    from datasets import Dataset  # noqa: F401  # a missing library is told here

    return contenders_of("Hugging Face datasets", _write, _epochs)


def _write(job: Job, target: Path) -> None:
    from datasets import Dataset, Features, Value, disable_progress_bars

    disable_progress_bars()
    features = Features({"image": Value("binary"), "label": Value("int64")})

    def rows() -> Any:
        for data, label in records(job):
            yield {"image": data, "label": label}

    # The generator's hash names the cache; the work is done anew in every new folder.
    Dataset.from_generator(rows, features=features, cache_dir=str(target))


def _open(store: Path) -> Any:
    from datasets import Dataset, concatenate_datasets

    parts = [Dataset.from_file(str(path)) for path in sorted(store.rglob("*.arrow"))]
    return concatenate_datasets(parts)


def _rows(store: Path) -> Callable[[list[int]], Any]:
    dataset = _open(store)

    def take(indices: list[int]) -> Any:
        rows = dataset[indices]
        return zip(rows["image"], rows["label"], strict=True)

    return take


def _epochs(job: Job) -> Callable[[], int]:
    return torch_loader(Batches(job, len(_open(job.store)), _rows), job)
