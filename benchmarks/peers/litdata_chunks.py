"""LitData."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.jobs import Contender, Job, count_images
from benchmarks.peers.common import Finish, contenders_of, keep_list, records

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("litdata",)


def contenders() -> list[Contender]:
    """Return LitData's chunks, read by StreamingDataLoader."""
    import litdata  # noqa: F401  # a missing library is told here

    return contenders_of("LitData", _write, _epochs)


def _write(job: Job, target: Path) -> None:
    from litdata.streaming.cache import Cache

    cache = Cache(str(target), chunk_bytes="64MB")
    for number, (data, label) in enumerate(records(job)):
        cache[number] = {"image": data, "label": label}
    cache.done()
    cache.merge()


def _epochs(job: Job) -> Callable[[], int]:
    from litdata import StreamingDataLoader, StreamingDataset

    finish = Finish(job)

    def transform(sample: Any) -> Any:
        return finish(sample["image"]), sample["label"]

    dataset = StreamingDataset(str(job.store), shuffle=True, transform=transform)
    loader = StreamingDataLoader(
        dataset,
        batch_size=job.batch,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        collate_fn=keep_list if job.work == "decode" else None,
    )
    return lambda: count_images(iter(loader))
