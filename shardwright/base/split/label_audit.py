"""The label audit of a split: which classes it has, with numbers and counts, and where its labels came from."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shardwright.base.fields import Field

__all__ = ["LabelAudit", "audit_labels"]

MOST_COUNTED = 10_000  # different numbers without names; more are told as a range
MOST_SHOWN = 20  # classes in the text


@dataclass(frozen=True, slots=True)
class ClassCount:
    """One class: its number, its name if it has one, and its samples."""

    number: int
    name: str | None
    count: int

    def __str__(self) -> str:
        return f"{self.number}{'' if self.name is None else f' {self.name}'} ({self.count:,})"


@dataclass(frozen=True, slots=True)
class LabelAudit:
    """What the labels of a split are; printed as one or a few lines.

    Parameters
    ----------
    field : str or None
        The field of the labels; ``None``: there are no labels.
    kind : str
        Its kind: ``"class_label"``, ``"int"``, ``"float"``, ``"text"``, ...
    labels_from : str
        Where the labels were found when the split was made: ``"folder names"``, ``"column label of
        metadata.csv"``, ...; empty where the input's own samples held them.
    classes : tuple of ClassCount
        Every class that has a name or a sample, in the order of the numbers.
    missing : int
        Samples without a label (-1, or NaN).
    low, high : float, optional
        The smallest and the largest value of numbers that are no classes.
    """

    field: str | None
    kind: str = ""
    labels_from: str = ""
    classes: tuple[ClassCount, ...] = ()
    missing: int = 0
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the audit that `to_json` described."""
        return cls(**values | {"classes": tuple(ClassCount(**entry) for entry in values["classes"])})

    def __str__(self) -> str:
        if self.field is None:
            return "none"
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield f"field {self.field} ({self.kind})" + (f", from {self.labels_from}" if self.labels_from else "")
        if self.classes:
            yield f"{len(self.classes):,} class{'' if len(self.classes) == 1 else 'es'}: {self._shown()}"
        if self.low is not None:
            yield f"values from {self.low:g} to {self.high:g}"
        if self.missing:
            yield f"{self.missing:,} without a label"

    def _shown(self) -> str:
        shown = ", ".join(map(str, self.classes[:MOST_SHOWN]))
        rest = [entry.count for entry in self.classes[MOST_SHOWN:]]
        return f"{shown}, and {len(rest):,} more of {min(rest):,} to {max(rest):,} samples" if rest else shown


def audit_labels(label: Field, values: NDArray[Any] | None, labels_from: str) -> LabelAudit:
    """Return the audit of labels, given their values (N,) where they are numbers."""
    if values is None:
        return LabelAudit(label.name, label.kind, labels_from)
    if values.dtype.kind == "f":
        known = values[~np.isnan(values)]
        return LabelAudit(label.name, label.kind, labels_from, (), len(values) - len(known), *_range(known))
    return _of_whole(label, labels_from, values)


def _of_whole(label: Field, origin: str, values: NDArray[np.int64]) -> LabelAudit:
    is_class = label.kind == "class_label"
    known = values[values >= 0] if is_class else values
    numbers, counts = np.unique(known, return_counts=True)
    found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    if len(found) > MOST_COUNTED and not label.names:
        return LabelAudit(label.name, label.kind, origin, (), len(values) - len(known), *_range(known))
    names = dict(enumerate(label.names or ()))
    classes = tuple(ClassCount(n, names.get(n), found.get(n, 0)) for n in sorted(found.keys() | names.keys()))
    return LabelAudit(label.name, label.kind, origin, classes, len(values) - len(known))


def _range(values: NDArray[Any]) -> tuple[float | None, float | None]:
    return (float(values.min()), float(values.max())) if len(values) else (None, None)
