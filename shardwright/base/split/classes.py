"""The classes of a split: which field is the label, and the names of its numbers."""

from collections.abc import Sequence

from shardwright.base.fields import Field

__all__ = ["class_names", "label_field"]


def label_field(fields: Sequence[Field]) -> Field | None:
    """Return the field of the labels, if there are any numbers at all."""
    numbers = [f for f in fields if f.is_scalar]
    return min(numbers, key=lambda f: (f.kind != "class_label", f.name != "label"), default=None)


def class_names(fields: Sequence[Field]) -> list[str]:
    """Return the names of the labels' numbers or else of a mask's ids; empty if there are none."""
    named = label_field(fields) or next((f for f in fields if f.kind == "mask"), None)
    return list(named.names or ()) if named else []
