"""Raw images whose mode is changed while they are read."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shardwright.base.fields import Field
from shardwright.base.values.restore import restore_array
from shardwright.training.columns import Column, Part, Tools, raw_rows
from shardwright.training.ring import Ring, Slot

__all__ = ["ConvertedColumn"]


class ConvertedColumn(Column):
    """Raw images of one size in another mode than the stored one.

    Parameters
    ----------
    field : Field
    where : str
        Which split, for messages.
    mode : str
        Pillow mode.
    pin : bool
        Whether the batches are page-locked.
    """

    def __init__(self, field: Field, where: str, mode: str, pin: bool) -> None:
        super().__init__(field, where)
        self.mode = mode
        stored = np.zeros(field.shape or (), field.dtype)
        sample: NDArray[np.generic] = restore_array(field, stored, "numpy", mode)
        self.ring = Ring(sample.shape, torch.from_numpy(sample).dtype, pin)

    def begin(self, count: int) -> Slot:
        """Take a buffer."""
        return self.ring.take(count)

    def out(self, store: Slot, part: Part, tools: Tools) -> NDArray[np.generic]:
        """Return the thread's buffer for what is not yet converted."""
        return raw_rows(self.field, part, tools)

    def fill(self, store: Slot, part: Part, values: NDArray[np.generic], tools: Tools) -> None:
        """Convert each image."""
        rows = store.tensor[part.start : part.stop].numpy()
        self._each(part, self._convert, values, rows)

    def _convert(self, value: NDArray[np.generic], row: NDArray[np.generic]) -> None:
        row[...] = restore_array(self.field, value, "numpy", self.mode)

    def finish(self, store: Slot, count: int) -> Tensor:
        """Lend the buffer, as (N, C, H, W)."""
        batch = store.hand_out(count)
        return batch[:, None] if batch.ndim == 3 else batch.permute(0, 3, 1, 2)
