"""ThreadedLoader: batches from threads instead of processes.

Reading, decoding and resizing all release Python's lock, so threads use all cores, and their
batches need not be moved between processes, which costs ten times the reading of raw samples.
"""

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch.utils.data import IterableDataset, Sampler

from shardwright.base.arguments import check_whole
from shardwright.base.errors import ConfigError
from shardwright.training.batchers import Piece
from shardwright.training.crew import Crew
from shardwright.training.order import Order
from shardwright.training.work import Work, choose_work, on_tensors

__all__ = ["ThreadedLoader"]


class ThreadedLoader:
    """Iterates over batches of a data set, as ``torch.utils.data.DataLoader`` does.

    A reader without transforms, or with a `FusedTransform` given here, is read in whole
    batches, straight into memory that is used again as soon as nothing refers to the batch any
    more; so a batch is always safe to keep. Raw images come as uint8 (N, C, H, W),
    channels-last in memory; encoded ones without a transform as a list of what the reader's
    ``output=`` says. Any other map-style data set, and any other transform, works too, sample
    by sample.

    With a fused transform a batch depends on `seed`, epoch and order only, whatever the number
    of threads. Other random transforms draw from torch's global generator: with more than one
    thread, in no fixed order.

    Parameters
    ----------
    dataset : Reader, Subset of one, or any map-style dataset
    batch_size, shuffle, sampler, batch_sampler, drop_last, collate_fn
        As for ``DataLoader``. With `collate_fn` samples are made one by one.
    transform : callable, optional
        Of the first image of a sample: a `FusedTransform`, or any callable.
    num_threads : int, optional
        Threads that make batches; 0: the caller's own. By default the CPUs of this process,
        at most 8.
    prefetch : int, optional
        Batches to have ready or in the making beyond the current one. By default 2, and 1
        without a transform: more of such large ones only fall out of the processor's cache.
    pin_memory : bool, optional
        Whether batches lie in page-locked memory. By default: if there is a GPU.
    generator : torch.Generator, optional
        Where the seed comes from if none is given.
    seed : int, optional
        Of the shuffling and of the fused transforms.
    device : torch.device or str, optional
        Where the tensors of a batch are moved to.

    Raises
    ------
    ConfigError
        If an argument is wrong.

    Examples
    --------
    >>> from shardwright.training.transforms import TrainTransform
    >>> loader = ThreadedLoader(
    ...     reader, batch_size=64, shuffle=True, transform=TrainTransform(224), seed=0
    ... )  # doctest: +SKIP
    >>> for epoch in range(90):  # doctest: +SKIP
    ...     for images, labels in loader:
    ...         ...
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[Sequence[Any]] | None = None,
        *,
        transform: Callable[[Any], Any] | None = None,
        num_threads: int | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool | None = None,
        drop_last: bool = False,
        prefetch: int | None = None,
        generator: torch.Generator | None = None,
        seed: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if isinstance(dataset, IterableDataset):
            raise ConfigError(f"{type(dataset).__name__} is iterable only: a map-style dataset is needed")
        self.num_threads = check_whole("num_threads", default_threads() if num_threads is None else num_threads, 0)
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else _can_pin(pin_memory)
        self.device = None if device is None else torch.device(device)
        self.seed = _drawn(generator) if seed is None else seed
        self._order = Order(len(dataset), batch_size, shuffle, sampler, batch_sampler, drop_last, self.seed)
        self._work = choose_work(dataset, transform, collate_fn, self.pin_memory)
        self.prefetch = check_whole("prefetch", self._work.ahead if prefetch is None else prefetch, 1)
        self._epoch, self._skip = 0, 0
        self._running: _Epoch | None = None

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._running = _Epoch(self, self._epoch, self._skip)
        self._epoch, self._skip = self._epoch + 1, 0
        return iterator

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; without it each iteration begins the one after the last.

        Samplers that have ``set_epoch`` are told too. The epoch that `load_state_dict` has named
        still goes on where it was left.
        """
        epoch = check_whole("epoch", epoch, 0)
        if epoch != self._epoch:
            self._skip = 0
        self._epoch, self._running = epoch, None
        self._order.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return what `load_state_dict` needs to go on after the last batch that was taken."""
        running = self._running
        if running is None or running.ended:
            return {"seed": self.seed, "epoch": self._epoch, "batches": self._skip}
        return {"seed": self.seed, "epoch": running.epoch, "batches": running.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Have the next iteration go on where `state_dict` was taken.

        Raises
        ------
        ConfigError
            If it is no such state.
        """
        if set(state) != {"seed", "epoch", "batches"}:
            raise ConfigError(f"a state has the entries seed, epoch and batches, not {sorted(state)}")
        self.seed = self._order.seed = state["seed"]
        self.set_epoch(state["epoch"])
        self._skip = check_whole("batches", state["batches"], 0)


class _PendingBatch:
    """A batch in the making."""

    def __init__(self, work: Work, indices: list[Any], parts: list[Piece]) -> None:
        self.work, self.indices, self.missing = work, indices, len(parts)
        self.store = work.begin(len(indices))
        self.result: Any = None
        self.error: BaseException | None = None
        self._lock, self._unmade = threading.Lock(), threading.Lock()  # a lock is far quicker than an Event
        self._unmade.acquire()

    def run(self, part: Piece) -> None:
        """Make one part, and with the last one the batch; errors are kept for who takes it."""
        try:
            if self.error is None:
                self.work.fill(self.store, part, self.indices[part.start : part.stop])
        except BaseException as error:  # noqa: BLE001  # raised again by `take`
            self.error = error
        with self._lock:
            self.missing -= 1
            last = not self.missing
        if last:
            self._finish()

    def _finish(self) -> None:
        try:
            if self.error is None:
                self.result = self.work.finish(self.store, len(self.indices))
        except BaseException as error:  # noqa: BLE001  # raised again by `take`
            self.error = error
        self.store = None
        self._unmade.release()

    def take(self) -> Any:
        """Wait for the batch and return it, or raise what went wrong."""
        with self._unmade:
            pass
        if self.error is not None:
            raise self.error
        return self.result


class _Epoch:
    """The iterator of one epoch.

    Attributes
    ----------
    epoch : int
    taken : int
        Batches that were handed out, those before a resume included.
    done : bool
        Whether no batch comes any more: after the last one, an error or `close`.
    ended : bool
        Whether that is because the last one was taken.
    """

    def __init__(self, loader: ThreadedLoader, epoch: int, skip: int) -> None:
        self.epoch, self.taken, self.done, self.ended = epoch, 0, False, False
        self._pid = os.getpid()
        self._work, self._seed, self._device = loader._work, loader.seed, loader.device
        self._indices = loader._order.batches(epoch)
        self._position = 0
        for indices in self._indices_of(skip):
            self._position += len(indices)
            self.taken += 1
        self._crew = Crew(loader.num_threads)
        self._threads, self._ahead = loader.num_threads, loader.prefetch
        self._flying: deque[_PendingBatch] = deque()

    def _indices_of(self, count: int) -> Iterator[list[Any]]:
        return (indices for _, indices in zip(range(count), self._indices, strict=False))

    def __iter__(self) -> "_Epoch":
        return self

    def __next__(self) -> Any:
        if self._pid != os.getpid():
            raise RuntimeError("this iterator's threads are in the process that was forked; call iter(loader) here")
        if self.done:
            raise StopIteration
        try:
            self._fly()
            if self._flying:
                batch = self._moved(self._flying.popleft().take())
                self.taken += 1
                return batch
        except BaseException:
            self.close()
            raise
        self.ended = True
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End the threads; no batch comes after that."""
        self.done = True
        self._flying.clear()
        self._crew.close()

    def _fly(self) -> None:
        """Have as many batches in the making as are wanted."""
        while len(self._flying) < self._wanted():
            indices = next(self._indices, None)
            if indices is None:
                return
            parts = self._parts(indices)
            batch = _PendingBatch(self._work, indices, parts)
            self._flying.append(batch)
            self._position += len(indices)
            for part in parts:
                self._crew.add(partial(batch.run, part))

    def _wanted(self) -> int:
        if not self._threads:
            return 1
        parts = max(-(-len(self._flying[0].indices) // self._work.part_size), 1) if self._flying else 1
        return self._ahead + -(-self._threads // parts)

    def _parts(self, indices: list[Any]) -> list[Piece]:
        samples = self._work.numbers(indices)
        cuts = [*range(0, max(len(indices), 1), self._work.part_size), len(indices)]  # an empty batch has a part, too
        return [Piece(a, b, samples[a:b], self._position + a, self._seed, self.epoch) for a, b in pairwise(cuts)]

    def _moved(self, batch: Any) -> Any:
        if self._device is None:
            return batch
        return on_tensors(batch, lambda tensor: tensor.to(self._device, non_blocking=tensor.is_pinned()))


def default_threads() -> int:
    """Return the number of CPUs that this process may use, at most 8."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, 8)


def _can_pin(wanted: bool) -> bool:
    """Whether memory is to be page-locked; like ``DataLoader``, warn where it is wanted and cannot be."""
    try:
        torch.empty(int(wanted), pin_memory=wanted)
    except RuntimeError:
        warnings.warn("pin_memory=True has no effect: torch finds no device that it is for", stacklevel=3)
        return False
    return wanted


def _drawn(generator: torch.Generator | None) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())
