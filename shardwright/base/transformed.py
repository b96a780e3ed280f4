"""A sample after the user's transforms: the first image goes through one, the target through the other."""

from collections.abc import Callable, Sequence
from typing import Any

from shardwright.base.fields import Field

__all__ = ["transform_dict", "transform_tuple"]

Transform = Callable[[Any], Any] | None


def transform_tuple(
    values: Sequence[Any], fields: Sequence[Field], transform: Transform, target_transform: Transform
) -> Any:
    """Return the values as a tuple, the second one being the target; a single value alone."""
    parts = list(values)
    first = next((i for i, f in enumerate(fields) if f.is_image), 0)
    if transform is not None:
        parts[first] = transform(parts[first])
    if target_transform is not None and len(parts) > 1:
        parts[1] = target_transform(parts[1])
    return tuple(parts) if len(parts) > 1 else parts[0]


def transform_dict(
    sample: dict[str, Any], fields: Sequence[Field], transform: Transform, target_transform: Transform
) -> dict[str, Any]:
    """Return the sample, whose target is ``label``, or else the first mask."""
    image = next((f.name for f in fields if f.is_image), fields[0].name)
    masks = [f.name for f in fields if f.kind == "mask"]
    target = "label" if "label" in sample else next(iter(masks), None)
    if transform is not None:
        sample[image] = transform(sample[image])
    if target_transform is not None and target is not None:
        sample[target] = target_transform(sample[target])
    return sample
