"""From a source to columns: the DataLoader, or the threads, that read, encode and pack samples.

Batches are cut at the edges of shards, so one stream of them runs across all shards
of a process and its workers never idle at an edge. What goes wrong with one
sample travels as a `Failure` beside the good ones, so that the process that
writes decides what becomes of it.
"""

import contextlib
import hashlib
import pickle
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset, get_worker_info

from shardwright.base.errors import ConfigError, InputError, ShardwrightError, text_of
from shardwright.base.images import EncodedImage
from shardwright.base.images.probe import image_warning, is_deep_gray
from shardwright.base.source import Source
from shardwright.base.values.columns import Batch, ByteColumn, Column
from shardwright.base.values.copied import copied
from shardwright.base.workers import in_threads

__all__ = ["Batch", "Failure", "Loaded", "ShardBatches", "load_batches", "worker_died", "worker_errors"]

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Column]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A sample that could not be read or encoded, and why."""

    index: int
    reason: str
    sha256: str = ""
    cause: BaseException | None = None

    def error(self, name: str) -> InputError:
        """Return the error that tells it, of the class of its cause if that is one of input."""
        kind = type(self.cause) if isinstance(self.cause, InputError) else InputError
        return kind(f"{name}: {self.reason}; mend or remove it, or pass on_error='skip'")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a worker hands over for one list of sample numbers; `warnings` counts those about images."""

    indices: list[int]
    columns: dict[str, Any]
    failures: list[Failure]
    warnings: Mapping[str, int]

    def batch(self) -> Batch:
        """Return the good samples."""
        return Batch(np.asarray(self.indices), {k: _unpacked(c) for k, c in self.columns.items()})


class _Samples(Dataset[tuple[int, Any]]):
    """A source as the DataLoader wants it: exceptions become values."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, index: int) -> tuple[int, Any]:
        try:
            sample = self.source[index]
            return index, sample if self.source.keeps_samples else {k: copied(v) for k, v in sample.items()}
        # A dataset may raise anything, SystemExit too; none of it may end a worker silently.
        except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001
            return index, _failure(index, error)


@dataclass(frozen=True, slots=True)
class _CollateSamples:
    """Split good samples from failures, and pack the good ones."""

    collate: Collate

    def __call__(self, items: list[tuple[int, Any]]) -> Loaded:
        failures = [value for _, value in items if isinstance(value, Failure)]
        good = [item for item in items if not isinstance(item[1], Failure)]
        columns, good, bad = self._pack(good)
        sent = columns if get_worker_info() is None else {k: _packed(c) for k, c in columns.items()}
        warnings = Counter(_warnings([sample for _, sample in good], columns))
        return Loaded([index for index, _ in good], sent, sorted(failures + bad, key=lambda f: f.index), warnings)

    def _pack(self, good: list[tuple[int, Any]]) -> tuple[dict[str, Column], list[tuple[int, Any]], list[Failure]]:
        if not good:
            return {}, [], []
        try:
            return dict(self.collate([sample for _, sample in good])), good, []
        except Exception:
            # The hook takes a whole batch: find out whose fault it was, one by one.
            bad = [f for f in (self._try(*item) for item in good) if f is not None]
            if not bad:
                raise
        indices = {f.index for f in bad}
        columns, good, more = self._pack([item for item in good if item[0] not in indices])
        return columns, good, bad + more

    def _try(self, index: int, sample: Any) -> Failure | None:
        try:
            self.collate([sample])
        except Exception as error:  # noqa: BLE001  # a user's hook may raise anything
            return _failure(index, error, sample)
        return None


DEEP_GRAY = "16-bit gray: stored with 8 bits, as im_mode= says"


def _deep_grays(samples: list[dict[str, Any]], columns: Mapping[str, Column]) -> Iterator[str]:
    """Yield a text for each gray image of 16 bits of which pixels with 8 were made."""
    shallow = [name for name, c in columns.items() if isinstance(c, np.ndarray) and c.ndim > 2 and c.dtype == np.uint8]
    for value in (sample[name] for sample in samples for name in shallow if name in sample):
        if isinstance(value, Image.Image):
            deep = value.mode.startswith("I;16")
        elif isinstance(value, EncodedImage):
            deep = is_deep_gray(value.data)
        else:
            deep = str(getattr(value, "dtype", "")).endswith("uint16")
        if deep:
            yield DEEP_GRAY


def _warnings(samples: list[dict[str, Any]], columns: Mapping[str, Column]) -> Iterator[str]:
    """Yield what a user should know about the image files of samples: what was found when they were packed."""
    yield from _deep_grays(samples, columns)
    packed = [c for c in columns.values() if isinstance(c, ByteColumn)]
    found = {id(file): text for c in packed for file, text in zip(c.values, c.warnings, strict=False)}
    for image in (value for sample in samples for value in sample.values() if isinstance(value, EncodedImage)):
        text = found.get(id(image.data))
        if text is None:  # a hook, or a format of fixed size, has made something else of it
            with contextlib.suppress(InputError):
                text = image_warning(image.data)
        if text:
            yield text


def _packed(column: Column) -> Any:
    """Return what a worker sends of a column: tensors go through shared memory, everything else through a pipe.

    PyTorch would share them in a thread of its own, where an error is lost and the other side waits for ever.
    """
    try:
        if not isinstance(column, ByteColumn):
            return _shared(np.ascontiguousarray(column))
        data, offsets = column.joined()
        return _shared(data), _shared(offsets), column.tags
    except (OSError, RuntimeError):  # shared memory is full, as it soon is in a container: the pipe takes all
        return column


def _shared(array: NDArray[Any]) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


def _unpacked(sent: Any) -> Column:
    if isinstance(sent, torch.Tensor):
        return np.asarray(sent)
    if not isinstance(sent, tuple):
        return cast("Column", sent)
    data, cuts = sent[0].numpy().data, sent[1].tolist()
    return ByteColumn([data[a:b] for a, b in pairwise(cuts)], sent[2])


def _failure(index: int, error: BaseException, sample: Any = None) -> Failure:
    encoded = [v for v in sample.values() if isinstance(v, EncodedImage)] if isinstance(sample, dict) else []
    sha256 = hashlib.sha256(encoded[0].data).hexdigest() if encoded else ""
    # A cause that may not survive the way from another process stays behind; its text is in the reason.
    travels = isinstance(error, ShardwrightError) or type(error).__module__ == "builtins"
    return Failure(index, text_of(error), sha256, error if travels else None)


@dataclass(frozen=True, slots=True)
class ShardBatches:
    """Ranges of sample numbers, none of which crosses the edge of a shard; a batch sampler."""

    shards: Sequence[int]
    num_samples: int
    per_shard: int
    batch_size: int

    def __iter__(self) -> Iterator[range]:
        for shard in self.shards:
            samples = self.samples(shard)
            yield from (samples[i : i + self.batch_size] for i in range(0, len(samples), self.batch_size))

    def __len__(self) -> int:
        return sum(self.batches(shard) for shard in self.shards)

    def samples(self, shard: int) -> range:
        """Return the sample numbers of a shard."""
        return range(shard * self.per_shard, min((shard + 1) * self.per_shard, self.num_samples))

    def batches(self, shard: int) -> int:
        """Return the number of batches of a shard."""
        return -(-len(self.samples(shard)) // self.batch_size)


def load_batches(
    source: Source, batches: ShardBatches, collate: Collate, num_workers: int, threads: bool = False
) -> Generator[Loaded]:
    """Read and pack `batches` of sample numbers, in order, in `num_workers` processes or threads.

    Threads need not move their batches, which between processes takes longer than reading them.
    """
    samples, pack = _Samples(source), _CollateSamples(collate)
    num_workers = min(num_workers, len(batches))
    if threads:
        yield from in_threads(lambda numbers: pack([samples[i] for i in numbers]), batches, num_workers)
        return
    try:
        with warnings.catch_warnings():
            # More workers than cores is the user's choice, or the default's: torch need not warn.
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            loader = DataLoader(samples, batch_sampler=cast("Any", batches), num_workers=num_workers, collate_fn=pack)
            loaded = iter(loader)
        yield from loaded
    except (ConnectionError, EOFError) as error:  # its pipe is sometimes noticed first
        raise worker_died(error) from error
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        if "pickle" not in str(error).lower():
            raise
        raise ConfigError(
            f"the input cannot be sent to worker processes ({error}); define its functions at the "
            "top of a module, or pass num_workers=0"
        ) from error


@contextlib.contextmanager
def worker_errors() -> Iterator[None]:
    """Turn the death of a worker process into an error that says how to go on.

    PyTorch raises it from a signal handler, so at any place while a loader is alive.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise worker_died(error) from error


def worker_died(error: Exception) -> InputError:
    """Return the error that says how to go on."""
    return InputError(
        f"a worker process died ({error}); when memory ran out use a smaller batch_size or fewer "
        "num_workers, then run the same conversion again: it goes on from the last finished shard"
    )
