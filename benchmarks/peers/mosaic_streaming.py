"""mosaicml-streaming (MDS)."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.jobs import Contender, Job
from benchmarks.peers.common import Finish, contenders_of, records, torch_loader

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("mosaicml-streaming",)


def contenders() -> list[Contender]:
    """Return MDS with bytes columns, read by StreamingDataset."""
    import streaming  # noqa: F401  # a missing library is told here

    return contenders_of("mosaicml-streaming", _write, _epochs)


def _write(job: Job, target: Path) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(target), columns={"image": "bytes", "label": "int"}, exist_ok=True) as writer:
        for data, label in records(job):
            writer.write({"image": data, "label": label})


def _epochs(job: Job) -> Callable[[], int]:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    finish = Finish(job)

    class Images(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: int) -> object:
            sample = super().__getitem__(index)
            return finish(sample["image"]), sample["label"]

    clean_stale_shared_memory()
    dataset = Images(local=str(job.store), shuffle=True, batch_size=job.batch)
    return torch_loader(dataset, job, shuffle=None)
