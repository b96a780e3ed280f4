"""Samplers for training on converted splits: exact coverage, block shuffle, resume at any position.

All ranks draw one global order from (seed, epoch); rank ``r`` of ``W`` takes the
positions ``r, r + W, r + 2 W, ...`` of it. So ``W`` ranks with batches of ``B`` see
together, step by step, the batches that one rank with ``B * W`` sees; and one number,
the global position, says what has been seen, whatever the number of ranks was.
"""

from collections.abc import Iterator, Sized
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from shardwright.base.arguments import check_choice, check_whole
from shardwright.base.errors import ConfigError
from shardwright.base.writing.ranks import rank_and_world

__all__ = ["GlobalSampler", "block_order"]


def block_order(num_samples: int, block_size: int, window: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return an order in which blocks of neighbours are read close to each other.

    Blocks of `block_size` consecutive samples are put in random order; then every
    `window` of samples in that order is shuffled. A disk thus sees `window /
    block_size` places at a time, each read from front to back.

    Parameters
    ----------
    num_samples : int
    block_size : int
        Samples that lie together; a shard, or less.
    window : int
        Samples that are mixed with each other.
    generator : numpy.random.Generator

    Returns
    -------
    int64, shape (num_samples,)
        A permutation of ``range(num_samples)``.
    """
    num_blocks = -(-num_samples // block_size)
    starts = generator.permutation(num_blocks) * block_size
    order = (starts[:, None] + np.arange(block_size)).reshape(-1)
    order = order[order < num_samples]
    # Sorting by (window number + a fraction) shuffles inside of each window at once.
    keys = generator.random(num_samples)
    keys += np.arange(num_samples) // window
    return order[np.argsort(keys, kind="stable")].astype(np.int64)


class GlobalSampler(Sampler[int]):
    """Draws every sample exactly once per epoch, over all ranks, and resumes in the middle.

    Works as ``sampler=`` of a ``DataLoader``, a ``ThreadedLoader`` or torchdata's
    ``StatefulDataLoader``.

    Parameters
    ----------
    data_source : Sized
        Only its length is used.
    shuffle : {"full", "block", "none"}
        A uniform permutation; `block_order`; or the order of the split.
    seed : int
        Of the permutation, together with the epoch.
    block_size, window : int
        Of `block_order`, in samples. Where samples lie class by class, as conversions of
        folders leave them, a window mixes few classes: of ImageNet's 1,000 a batch of 256
        has 37 on average with a window of 8,192, 155 with 65,536 and 226 with a full shuffle.
    uneven : {"keep", "pad", "drop"}
        When the ranks do not divide the samples: some ranks get one more (exact
        coverage), samples are repeated, or the last ones are left out. With
        ``DistributedDataParallel`` choose ``"pad"`` or ``"drop"``: it waits for ranks
        that have ended.
    dist : bool
        Take rank and world from ``torch.distributed`` or the launcher.
    rank, num_replicas : int, optional
        Rank and world, instead.

    Raises
    ------
    ConfigError
        If an argument is wrong.

    Examples
    --------
    >>> sampler = GlobalSampler(range(10), seed=1, rank=0, num_replicas=2)
    >>> sampler.set_epoch(3)
    >>> len(list(sampler))
    5
    """

    def __init__(
        self,
        data_source: Sized,
        *,
        shuffle: Literal["full", "block", "none"] = "full",
        seed: int = 0,
        block_size: int = 256,
        window: int = 8192,
        uneven: Literal["keep", "pad", "drop"] = "keep",
        dist: bool = False,
        rank: int | None = None,
        num_replicas: int | None = None,
    ) -> None:
        self.num_samples = len(data_source)
        self.shuffle = check_choice("shuffle", shuffle, ("full", "block", "none"))
        self.uneven = check_choice("uneven", uneven, ("keep", "pad", "drop"))
        self.seed = check_whole("seed", seed, 0)
        self.block_size = check_whole("block_size", block_size, 1)
        self.window = check_whole("window", window, 1)
        self.rank, self.world = rank_and_world(dist, rank, num_replicas)
        self.epoch = 0
        self._start = 0  # global position at which the present epoch (re)begins
        self._begun = 0  # the same of the iteration that was begun last; a loader that reads ahead ends it early
        self._yielded = 0  # samples that this rank took since then

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; another one begins at its first sample."""
        if check_whole("epoch", epoch, 0) != self.epoch:
            self.epoch, self._start, self._begun, self._yielded = epoch, 0, 0, 0

    def __len__(self) -> int:
        return len(range(self._start + self.rank, self._end(), self.world))

    def _end(self) -> int:
        """Return where the global order ends, for all ranks."""
        left = self.num_samples - self._start
        if self.uneven == "drop":
            left -= left % self.world
        elif self.uneven == "pad":
            left += -left % self.world
        return self._start + left

    def order(self) -> NDArray[np.int64]:
        """Return the order of all samples in this epoch, the same on every rank."""
        generator = np.random.Generator(np.random.PCG64([self.seed, self.epoch]))
        if self.shuffle == "none":
            return np.arange(self.num_samples)
        if self.shuffle == "block":
            return block_order(self.num_samples, self.block_size, self.window, generator)
        return generator.permutation(self.num_samples)

    def __iter__(self) -> Iterator[int]:
        order = self.order()
        self._begun, self._yielded = self._start, 0
        for position in range(self._start + self.rank, self._end(), self.world):
            self._yielded += 1
            yield int(order[position % self.num_samples])
        self._start = 0  # the next iteration is a whole epoch; until it begins, the state is that of this one's end

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return where this epoch stands, for all ranks.

        Parameters
        ----------
        consumed : int, optional
            Samples that this rank has trained on since the epoch (re)began. Say it when a
            loader's workers read ahead of the training; by default those that were drawn.
        """
        if consumed is None:
            consumed = self._yielded
        position = min(self._begun + check_whole("consumed", consumed, 0) * self.world, self.num_samples)
        return {"epoch": self.epoch, "position": position, "seed": self.seed, "num_samples": self.num_samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, with any number of ranks.

        Raises
        ------
        ConfigError
            If it was taken with another seed or number of samples.
        """
        for name in ("seed", "num_samples"):
            if state[name] != getattr(self, name):
                raise ConfigError(
                    f"the state has {name}={state[name]}, this sampler {getattr(self, name)}; use the same"
                )
        self.epoch, self._yielded = state["epoch"], 0
        self._start = self._begun = state["position"]
