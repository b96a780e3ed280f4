"""Memory for large copies.

The system copies from its cache in whole cache lines where both sides begin at one; the values
of ``.npy`` files do. NumPy's own arrays begin 16 bytes after one, which made reading a fifth slower.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["empty"]

LINE = 64


def empty(shape: Sequence[int], dtype: Any) -> NDArray[Any]:
    """Return an uninitialized array like `numpy.empty`, which begins at a multiple of `LINE` bytes."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    aligned: NDArray[Any] = memory[start : start + size].view(dtype).reshape(shape)
    return aligned
