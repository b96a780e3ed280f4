"""Labels that lie in files as texts or as one-hot rows, as class numbers: the same as arrays of them give."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.fields import Field
from shardwright.base.source import Places, Source
from shardwright.base.values.label_column import Labels, are_class_names, labels_of
from shardwright.base.wrapped_source import WrappedSource

__all__ = ["with_decided_labels"]


def with_decided_labels(source: Source) -> Source:
    """Return a source whose field ``label``, if it holds texts or one-hot rows, gives class numbers."""
    label = source.fields.get("label")
    if label is None or label.kind not in ("text", "array") or (label.shape is not None and len(label.shape) != 1):
        return source
    values = _texts(source) if label.kind == "text" else _one_hot(source)
    if values is None:
        return source
    return _Decided(source, labels_of(values, "label"), "texts" if label.kind == "text" else "one-hot rows")


def _texts(source: Source) -> NDArray[Any] | None:
    texts = [str(value) for value in source.values("label")]
    return np.array(texts, str) if are_class_names(texts) else None


def _one_hot(source: Source) -> NDArray[Any] | None:
    """Return rows that each have one 1 and else 0; ``None`` at the first that has not, so most others are not read."""
    rows: list[NDArray[Any]] = []
    for value in source.values("label"):
        row = np.asarray(value)
        if row.ndim != 1 or len(row) < 2 or (rows and len(row) != len(rows[0])) or not _is_one_hot(row):
            return None
        rows.append(row)
    return np.stack(rows) if rows else None


def _is_one_hot(row: NDArray[Any]) -> bool:
    return bool(((row == 0) | (row == 1)).all() and (row == 1).sum() == 1)


class _Decided(WrappedSource):
    """A source with other values for its labels."""

    def __init__(self, source: Source, labels: Labels, what: str) -> None:
        super().__init__(source)
        self._numbers = labels.numbers
        self.fields["label"] = Field("label", labels.kind, names=labels.names)
        self.labels_from = self.labels_from or f"{what} of the field label"

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.source[index], "label": self._numbers.item(index)}

    def values(self, name: str) -> Iterator[Any]:
        """Return those of the source, or the numbers."""
        return iter(self._numbers.tolist()) if name == "label" else self.source.values(name)

    def places(self) -> Sequence[Places]:
        """Return the places of the source, the labels as scalars."""
        shards = self.source.places()
        ends = np.cumsum([shard.count for shard in shards])[:-1]
        return [self._placed(*pair) for pair in zip(shards, np.split(self._numbers, ends), strict=True)]

    def _placed(self, shard: Places, numbers: NDArray[Any]) -> Places:
        fields = [f for f in shard.fields if f.name != "label"]
        first = [f for f in fields if f.name == "image"]
        rest = [f for f in fields if f.name != "image"]
        left_out = {why: count for why, count in shard.left_out.items() if not why.startswith("field label:")}
        return replace(
            shard,
            fields=(*first, self.fields["label"], *rest),
            ranges={name: ranges for name, ranges in shard.ranges.items() if name != "label"},
            elsewhere={name: why for name, why in shard.elsewhere.items() if name != "label"},
            scalars={**shard.scalars, "label": numbers},
            left_out=left_out,
        )
