"""Lance."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.jobs import Contender, Job
from benchmarks.peers.common import Batches, contenders_of, records, torch_loader

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("pylance",)


def contenders() -> list[Contender]:
    """Return a table with a binary column, read by `take`."""
    import lance  # noqa: F401  # a missing library is told here

    return contenders_of("Lance", _write, _epochs)


def _write(job: Job, target: Path) -> None:
    import lance
    import pyarrow as pa

    schema = pa.schema([("image", pa.large_binary()), ("label", pa.int64())])

    def batches() -> Iterator[Any]:
        rows: list[tuple[bytes, int]] = []
        for record in records(job):
            rows.append(record)
            if len(rows) == 64:
                yield _record_batch(rows, schema)
                rows = []
        if rows:
            yield _record_batch(rows, schema)

    lance.write_dataset(batches(), str(target / "table.lance"), schema=schema)


def _record_batch(rows: list[tuple[bytes, int]], schema: Any) -> Any:
    import pyarrow as pa

    images, labels = zip(*rows, strict=True)
    return pa.record_batch([pa.array(images, pa.large_binary()), pa.array(labels, pa.int64())], schema=schema)


def _rows(store: Path) -> Callable[[list[int]], Any]:
    import lance

    dataset = lance.dataset(str(store / "table.lance"))

    def take(indices: list[int]) -> Any:
        table = dataset.take(indices)
        images = (value.as_buffer() for value in table["image"])
        return zip(images, table["label"].to_pylist(), strict=True)

    return take


def _epochs(job: Job) -> Callable[[], int]:
    import lance

    length = lance.dataset(str(job.store / "table.lance")).count_rows()
    # Lance has threads of its own and must not be forked.
    context = {"multiprocessing_context": "forkserver"} if job.workers else {}
    return torch_loader(Batches(job, length, _rows), job, **context)
