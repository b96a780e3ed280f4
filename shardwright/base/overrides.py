"""Whether a data set gives its samples as the class it derives from does."""

from typing import Any

__all__ = ["reads_as"]

_READS = ("__len__", "__getitem__", "__getitems__")


def reads_as(value: Any, kind: type) -> bool:
    """Whether a value reads samples by the functions of this class: a subclass may have others, which change them."""
    return all(getattr(type(value), name, None) is getattr(kind, name, None) for name in _READS)
