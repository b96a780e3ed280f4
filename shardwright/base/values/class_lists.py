"""Arrays of class names that lie beside arrays of numbers: ``classes`` names the labels, ``kind_classes`` the kinds."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_lists", "list_name", "names_in"]

_OF_LABELS = ("classes", "class_names", "label_names", "list_classes")


def list_name(field: str, is_label: bool) -> str:
    """Return what the array of a field's class names is called."""
    return "classes" if is_label else f"{field}_classes"


def class_lists(own: Mapping[str, str]) -> dict[str, str]:
    """Return the names of arrays that could be lists of class names: of which array each is; `own` gives the fields."""
    label = next((name for name, field in own.items() if field == "label"), None)
    lists = {f"{name}_classes": name for name in own}
    if label is not None:
        lists |= dict.fromkeys(_OF_LABELS, label)
    return {name: of for name, of in lists.items() if name in own}


def names_in(shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[[], NDArray[Any]]) -> tuple[str, ...] | None:
    """Return the class names that an array holds; ``None`` if it is no list of different texts."""
    if len(shape) != 1 or dtype.kind not in "SU":
        return None
    values = read()
    try:
        names = tuple((np.char.decode(values, "utf-8") if dtype.kind == "S" else values).tolist())
    except UnicodeDecodeError:
        return None
    return names if len(set(names)) == len(names) else None
