"""Hugging Face datasets, which shares the import name ``datasets`` with this library."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.jobs import Contender, Job
from benchmarks.peers.common import Batches, contenders_of, records, torch_loader

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("datasets",)


def contenders() -> list[Contender]:
    """Return an Arrow data set with binary images."""
    if not hasattr(library(), "Dataset"):
        raise ModuleNotFoundError("Hugging Face datasets is not installed: pip install datasets")
    return contenders_of("Hugging Face datasets", _write, _epochs)


def library() -> Any:
    """Return the package, untyped: type checkers see this library's in its place."""
    return import_module("datasets")


def _write(job: Job, target: Path) -> None:
    hf = library()
    hf.disable_progress_bars()
    features = hf.Features({"image": hf.Value("binary"), "label": hf.Value("int64")})

    def rows() -> Any:
        for data, label in records(job):
            yield {"image": data, "label": label}

    hf.Dataset.from_generator(rows, features=features, cache_dir=str(target))


def _open(store: Path) -> Any:
    parts = [library().Dataset.from_file(str(path)) for path in sorted(store.rglob("*.arrow"))]
    return library().concatenate_datasets(parts)


def _rows(store: Path) -> Callable[[list[int]], Any]:
    dataset = _open(store)

    def take(indices: list[int]) -> Any:
        rows = dataset[indices]
        return zip(rows["image"], rows["label"], strict=True)

    return take


def _epochs(job: Job) -> Callable[[], int]:
    return torch_loader(Batches(job, len(_open(job.store)), _rows), job)
