"""Which samples make each batch of an epoch."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import BatchSampler, Sampler

from shardwright.base.arguments import check_whole
from shardwright.base.errors import ConfigError

__all__ = ["Order"]


class Order:
    """The batches of every epoch, from the words that ``DataLoader`` takes, or raise `ConfigError`."""

    def __init__(
        self,
        length: int,
        batch_size: int,
        shuffle: bool,
        sampler: Sampler[Any] | Iterable[Any] | None,
        batch_sampler: Sampler[list[Any]] | Iterable[Sequence[Any]] | None,
        drop_last: bool,
        seed: int,
    ) -> None:
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ConfigError("batch_sampler= excludes batch_size=, shuffle=, sampler= and drop_last=")
        if sampler is not None and shuffle:
            raise ConfigError("sampler= excludes shuffle=True: the sampler says the order")
        self.length, self.batch_size, self.shuffle, self.drop_last = (
            length,
            check_whole("batch_size", batch_size, 1),
            shuffle,
            drop_last,
        )
        self.sampler, self.batch_sampler, self.seed = sampler, batch_sampler, seed

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]  # if it has none, that is the error to see
        count = self.length if self.sampler is None else len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def batches(self, epoch: int) -> Iterator[list[Any]]:
        """Yield the indices of each batch."""
        if self.batch_sampler is not None:
            return map(list, self.batch_sampler)
        if self.sampler is not None:
            return iter(BatchSampler(self.sampler, self.batch_size, self.drop_last))
        return self._own(epoch)

    def _own(self, epoch: int) -> Iterator[list[int]]:
        order: Any = range(self.length)
        if self.shuffle:
            generator = torch.Generator().manual_seed((self.seed + epoch) % 2**63)
            order = torch.randperm(self.length, generator=generator)
        starts = range(0, self.length, self.batch_size)
        for start in islice(starts, len(self)):
            part = order[start : start + self.batch_size]
            yield part.tolist() if self.shuffle else list(part)

    def set_epoch(self, epoch: int) -> None:
        """Tell the samplers, those that want to know."""
        inner = getattr(self.batch_sampler, "sampler", None)
        for sampler in (self.sampler, self.batch_sampler, inner):
            tell = getattr(sampler, "set_epoch", None)
            if tell is not None:
                tell(epoch)
