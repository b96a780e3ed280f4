"""Batch buffers that are used again, but never while somebody still holds a part of them."""

import weakref
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Ring", "Slot"]


class Slot:
    """One buffer of a ring.

    Attributes
    ----------
    tensor : Tensor
        The whole buffer, for whoever fills it.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, give_back: Callable[["Slot"], None] | None) -> None:
        # Page-locked memory comes from torch's own cache, which also waits for running copies to a GPU.
        self.tensor = torch.empty(tuple(shape), dtype=dtype, pin_memory=give_back is None)
        self._give_back = give_back
        self._bytes: NDArray[np.uint8] = self.tensor.view(-1).view(torch.uint8).numpy()

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
    """As many buffers of one kind as are in use at once; safe in threads.

    Parameters
    ----------
    shape : sequence of int
        Of one row. A buffer has as many rows as the largest batch so far.
    dtype : torch.dtype
    pin : bool
        Whether the memory is page-locked, for transfers to a GPU.
    """

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
