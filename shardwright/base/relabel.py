"""Class names in an order of one's own: the numbers of a source's labels follow the names."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.source import Places, Source
from shardwright.base.split.classes import label_field
from shardwright.base.wrapped_source import WrappedSource

__all__ = ["Relabelled", "check_classes", "named_as", "with_classes"]

_TRIES = 100  # samples that are read to find a good one


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple, or raise `ConfigError` unless they are different strings."""
    if isinstance(classes, str) or not all(isinstance(name, str) and name for name in classes):
        raise ConfigError(f"classes={classes!r:.200} must be a list of names")
    twice = (
        sorted({name for name in classes if list(classes).count(name) > 1}) if len(set(classes)) < len(classes) else []
    )
    if twice or not classes:
        raise ConfigError(
            f"classes= names {twice[0]!r} twice" if twice else "classes= is empty: give the names, or leave it out"
        )
    return tuple(classes)


def with_classes(source: Source, classes: Sequence[str], field: str | None = None) -> Source:
    """Return a source whose labels are numbered in the order of `classes`; the same one, if they are already.

    Parameters
    ----------
    source : Source
    classes : sequence of str
        All names. Labels that are names already keep them and get other numbers; whole numbers without
        names get the names in their order; texts are looked up.
    field : str, optional
        The field; by default that of the labels.

    Raises
    ------
    ConfigError
        If the source has no labels, or classes that are not in the list.
    """
    names = check_classes(classes)
    label = source.fields.get(field) if field else label_field(list(source.fields.values()))
    if label is not None and label.names == names:
        return source
    name = field or (label.name if label is not None else "label")
    if label is None or label.names is None:
        is_text = isinstance(_first_value(source, name), str)
        return Relabelled(
            source, name, names, None, of_text=is_text, of_number=not is_text and all(map(_is_whole, names))
        )
    lacking = [old for old in label.names if old not in names]
    if lacking:
        every = json.dumps([*names, *lacking], ensure_ascii=False)
        raise ConfigError(
            f"classes= lacks {', '.join(map(repr, lacking[:10]))}{', ...' if len(lacking) > 10 else ''} of the input's "
            f"classes ({source.labels_from or 'its own names'}): give all of them, as classes={every}, or take the "
            "samples of the others out of the input"
        )
    if names[: len(label.names)] == label.names:  # only more of them: numbers that had no name get one
        return Relabelled(source, name, names, None)
    numbers = {old: number for number, old in enumerate(names)}
    return Relabelled(source, name, names, np.array([numbers[old] for old in label.names], np.int64))


def named_as(source: Source, field: str, names: Sequence[str]) -> Source:
    """Return a source whose labels have these names: renumbered if it knows names or holds texts, else as it is."""
    if field in source.fields:
        return with_classes(source, names, field) if source.fields[field].names else source
    return with_classes(source, names, field) if isinstance(_first_value(source, field), str) else source


def _is_whole(name: str) -> bool:
    """Whether a class name is a whole number as Python writes it: labels that are numbers are looked up then."""
    return name.removeprefix("-").isdecimal() and str(int(name)) == name


def _first_value(source: Source, name: str) -> Any:
    """Return the label of the first good sample."""
    sample: Mapping[str, Any] = {name: None}
    for index in range(min(len(source), _TRIES)):
        with contextlib.suppress(Exception, SystemExit):  # bad samples are told when they are converted
            sample = source[index]
            break
    if name not in sample:
        raise ConfigError(f"classes= names the labels, and there are none: the samples have {sorted(sample)}")
    return sample[name]


class Relabelled(WrappedSource):
    """A source with other numbers, or names, for its labels.

    Parameters
    ----------
    source : Source
    field : str
        Of the labels.
    names : tuple of str
        Of the classes, in the order of their new numbers.
    numbers : int64 array, optional
        The new number of each old one; ``None``: the numbers stay.
    of_text, of_number : bool
        The labels are the names themselves, or the numbers that the names write.
    """

    def __init__(
        self,
        source: Source,
        field: str,
        names: tuple[str, ...],
        numbers: NDArray[np.int64] | None,
        of_text: bool = False,
        of_number: bool = False,
    ) -> None:
        super().__init__(source)
        self.field, self.names, self.numbers = field, names, numbers
        self.of_text = {name: number for number, name in enumerate(names)} if of_text else None
        self.of_number = {int(name): number for number, name in enumerate(names)} if of_number else None
        self.fields[field] = Field(field, "class_label", names=names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.source[index]
        if self.field not in sample:
            return sample
        return {**sample, self.field: self._number(sample[self.field])}

    def _number(self, label: Any) -> Any:
        if self.of_text is not None:
            if label not in self.of_text:
                raise InputError(f"the label {label!r} is not one of classes={list(self.names)[:10]}")
            return self.of_text[label]
        if self.of_number is not None:
            if label not in self.of_number and label != -1:
                raise InputError(f"the label {label} is not one of classes={list(self.names)[:10]}")
            return self.of_number.get(int(label), -1)
        if self.numbers is None:
            return label
        number = int(label)
        if number == -1:
            return number
        if not 0 <= number < len(self.numbers):
            raise InputError(f"the label {number} has no name: there are {len(self.numbers)}, numbered from 0")
        return self.numbers[number].item()

    def places(self) -> Sequence[Places]:
        """Return the places of the source, with the new numbers."""
        return [self._relabelled(shard) for shard in self.source.places()]

    def _relabelled(self, shard: Places) -> Places:
        fields = tuple(self.fields[f.name] if f.name == self.field else f for f in shard.fields)
        if self.field not in shard.scalars:
            raise InputError(
                f"the labels ({self.field}) are texts in {shard.files[0].name}, which cannot be numbered in place: "
                "convert it"
            )
        values = shard.scalars[self.field]
        if self.of_number is not None:
            known = [-1, *self.of_number]
            if not np.isin(values, known).all():
                raise InputError(f"{shard.files[0].name}: a label is not one of classes={list(self.names)[:10]}")
            values = np.array([self.of_number.get(int(value), -1) for value in values.tolist()], np.int64)
        old = len(self.names if self.numbers is None else self.numbers)
        wrong = values[(values < -1) | (values >= old)]
        if wrong.size:
            where = shard.files[0].name
            raise InputError(f"{where}: the label {wrong[0]} has no name: there are {old}, numbered from 0")
        if self.numbers is not None:
            values = np.where(values < 0, values, self.numbers[np.maximum(values, 0)])
        return replace(shard, fields=fields, scalars={**shard.scalars, self.field: values})
