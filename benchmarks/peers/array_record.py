"""ArrayRecord, the file format of Grain."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.jobs import Contender, Job
from benchmarks.peers.common import Batches, contenders_of, records, torch_loader

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("array_record",)
NAME = "train.array_record"


def contenders() -> list[Contender]:
    """Return records of label and image, one per group, so that any is read at once."""
    import array_record.python.array_record_module  # noqa: F401  # a missing library is told here

    return contenders_of("ArrayRecord", _write, _epochs)


def _write(job: Job, target: Path) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(target / NAME), "group_size:1,uncompressed")
    for data, label in records(job):
        writer.write(label.to_bytes(8, "little") + data)
    writer.close()


def _open(store: Path) -> Any:
    from array_record.python.array_record_module import ArrayRecordReader

    return ArrayRecordReader(str(store / NAME), options="readahead_buffer_size:0")


def _rows(store: Path) -> Callable[[list[int]], Any]:
    reader = _open(store)

    def take(indices: list[int]) -> Any:
        return ((memoryview(r)[8:], int.from_bytes(r[:8], "little")) for r in reader.read(indices))

    return take


def _epochs(job: Job) -> Callable[[], int]:
    reader = _open(job.store)
    length = reader.num_records()
    reader.close()
    return torch_loader(Batches(job, length, _rows), job)
