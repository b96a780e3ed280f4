"""The classes of a split: which field is the label, and the names of its numbers."""

from collections.abc import Sequence

from shardwright.base.fields import Field

__all__ = ["class_names", "label_field", "no_targets"]


def label_field(fields: Sequence[Field]) -> Field | None:
    """Return the field of the labels: that of classes, else the one called label, whatever it holds; else none."""
    classes = [f for f in fields if f.kind == "class_label"]
    return next((f for f in classes or fields if f.name == "label"), classes[0] if classes else None)


def class_names(fields: Sequence[Field]) -> list[str]:
    """Return the names of the labels' numbers or else of a mask's ids; empty if there are none."""
    label = label_field(fields)
    if label is None or not label.is_scalar:  # labels that are no numbers have no names
        label = next((f for f in (label, *fields) if f is not None and f.kind == "mask"), None)
    return list(label.names or ()) if label else []


def no_targets(fields: Sequence[Field], where: str) -> AttributeError:
    """Return the error for a split whose labels, if it has some, are no numbers: how to get what there is instead."""
    label = label_field(fields)
    numbers = [f.name for f in fields if f.is_scalar]
    if label is not None:
        return AttributeError(
            f"{where}: the label is of kind {label.kind!r}, so it has no numbers that targets could give; read it: "
            f"reader.read_values(range(len(reader)), [{label.name!r}])[{label.name!r}]"
        )
    others = f"; its numbers are read by {', '.join(f'scalars({name!r})' for name in numbers)}" if numbers else ""
    return AttributeError(
        f"{where} has no class label, and no field called 'label', that targets could give; its fields are "
        f"{[f.name for f in fields]}{others}"
    )
