"""Values of a sample apart from the memory that its dataset may fill anew for the next one."""

import copy
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFile

__all__ = ["copied"]


def copied(value: Any) -> Any:
    """Return a value that nothing outside can change any more; of what cannot change, itself."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, Image.Image):
        # One that was opened and not read yet has no pixels that could change, and is decoded only when it must be.
        waits = isinstance(value, ImageFile.ImageFile) and getattr(value, "_im", None) is None
        return value if waits else value.copy()
    if isinstance(value, (dict, list, bytearray)):
        return copy.deepcopy(value)
    return value
