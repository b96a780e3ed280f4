"""webdataset."""

from collections.abc import Callable
from pathlib import Path

from torch.utils.data import default_collate

from benchmarks.jobs import Contender, Job
from benchmarks.peers.common import Finish, contenders_of, keep_list, records, torch_loader

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("webdataset",)


def contenders() -> list[Contender]:
    """Return webdataset's own writer and reader."""
    import webdataset  # noqa: F401  # a missing library is told here

    return contenders_of("webdataset", _write, _epochs)


def _write(job: Job, target: Path) -> None:
    from webdataset import ShardWriter

    with ShardWriter(f"{target}/train-%06d.tar", maxcount=128, verbose=0) as writer:
        for number, (data, label) in enumerate(records(job)):
            writer.write({"__key__": f"{number:09d}", "bin": data, "cls": label})


def _epochs(job: Job) -> Callable[[], int]:
    from webdataset import WebDataset

    shards = sorted(map(str, job.store.glob("*.tar")))
    dataset = (
        WebDataset(shards, shardshuffle=len(shards), empty_check=False)
        .shuffle(256)
        .to_tuple("bin", "cls")
        .map_tuple(Finish(job), int)
        .batched(job.batch, collation_fn=keep_list if job.work == "decode" else default_collate)
    )
    return torch_loader(dataset, job, shuffle=None, batch_size=None)
