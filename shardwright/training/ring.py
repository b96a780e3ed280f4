"""Batch buffers that are used again, but never while somebody still holds a part of them."""

import math
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shardwright.base.storage.files import aligned_empty

__all__ = ["Pool", "Ring", "Slot"]


class Slot:
    """One buffer of a ring."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, give_back: Callable[["Slot"], None] | None) -> None:
        # Page-locked memory comes from torch's own cache, which also waits for running copies to a GPU.
        self._give_back = give_back
        if give_back is None:
            self.tensor = torch.empty(tuple(shape), dtype=dtype, pin_memory=True)
            return
        # NumPy asks the system for huge pages, torch does not; copies into them are faster.
        self._bytes = aligned_empty((math.prod(shape) * dtype.itemsize,), np.uint8)
        self.tensor = torch.from_numpy(self._bytes).view(dtype).view(tuple(shape))

    def hand_out(self, count: int) -> Tensor:
        """Return the first `count` rows as a tensor; the slot is free again when its memory is unused.

        Every view of the tensor, in torch or NumPy, keeps the memory; so a batch is safe to keep.
        """
        if self._give_back is None:
            return self.tensor[:count]
        # The tensor's storage owns a reference to this array, and nothing else does.
        lent = self._bytes[:]
        weakref.finalize(lent, self._give_back, self).atexit = False
        whole = torch.from_numpy(lent).view(self.tensor.dtype).view(self.tensor.shape)
        return whole[:count]


class Ring:
    """As many buffers of one kind as are in use at once; safe in threads."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, pin: bool = False) -> None:
        self.shape, self.dtype, self.pin = tuple(shape), dtype, pin
        self._rows = 0
        self._free: deque[Slot] = deque()

    def take(self, count: int) -> Slot:
        """Return a free buffer of at least `count` rows, a new one if there is none."""
        self._rows = max(self._rows, count)
        while self._free:
            try:
                slot = self._free.pop()
            except IndexError:
                break  # another thread was faster
            if len(slot.tensor) >= count:
                return slot
        return Slot((self._rows, *self.shape), self.dtype, None if self.pin else self._free.append)


class Pool:
    """Buffers of every size, each lent as an array until nothing refers to it; safe in threads.

    Fresh memory costs a photograph a quarter of its decoding time.
    """

    def __init__(self, limit: int = 2**28) -> None:
        self.limit = limit
        self._kept = 0  # a little off when threads meet, which does no harm
        self._free: defaultdict[int, deque[memoryview]] = defaultdict(deque)

    def pixels(self, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """Return an array of a shape; what it holds is undefined."""
        size = math.prod(shape)
        # Steps of an eighth to a quarter, so that images of about one size share their buffers.
        step = 1 << max(size.bit_length() - 3, 12)
        rounded = -(-size // step) * step
        try:
            buffer = self._free[rounded].pop()
            self._kept -= rounded
        except IndexError:
            buffer = memoryview(np.empty(rounded, np.uint8).data)
        # The base of a view of this array is the array, since the array's own is none of NumPy's.
        lent: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)
        weakref.finalize(lent, self._take_back, rounded, buffer).atexit = False
        return lent[:size].reshape(shape)

    def _take_back(self, rounded: int, buffer: memoryview) -> None:
        if self._kept < self.limit:
            self._kept += rounded
            self._free[rounded].append(buffer)
