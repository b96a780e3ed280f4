"""View: a data set over converted splits, which reads in batches; parts of one, and several joined.

`Reader` is the view of one whole split. `Selection` is what ``view.select(...)``
gives, `concat` joins views. All pass whole batches on: torch's own
``ConcatDataset`` asks for every sample alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.images import Decoder
from shardwright.base.source import digest_of
from shardwright.base.split.classes import label_field
from shardwright.base.split.label_audit import LabelAudit, audit_labels

__all__ = ["Concat", "Decoding", "Selection", "View", "as_positions", "as_view", "concat", "reads_as"]

_READS = ("__len__", "__getitem__", "__getitems__")
_BATCH = 1024  # samples that a predicate's columns are read for at a time


def reads_as(value: Any, kind: type) -> bool:
    """Whether a value reads samples by the functions of this class: a subclass may have others, which change them."""
    return all(getattr(type(value), name, None) is getattr(kind, name, None) for name in _READS)


def as_positions(indices: Any, length: int, name: str) -> NDArray[np.int64]:
    """Return indices, of which negative ones count from the end, as positions from 0 to `length`.

    Raises
    ------
    TypeError
        If they are not whole numbers.
    IndexError
        If one is out of range.
    """
    positions = np.asarray(indices)
    if positions.dtype.kind not in "iu" or positions.ndim != 1:
        if positions.size:
            raise TypeError(f"{name} indices are whole numbers, not {indices!r:.80}")
        positions = positions.astype(np.int64).reshape(-1)
    if positions.dtype == np.int64 and (positions.view(np.uint64) < length).all():
        return positions  # nearly always: in range, and none negative, which would be huge without a sign
    bad = (positions >= length) | (positions < -length)
    if bad.any():
        raise IndexError(f"index {positions[bad][0]} is out of range for a split of {length} samples")
    positions = positions.astype(np.int64, copy=False)
    return np.where(positions < 0, positions + length, positions)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a reader makes samples of stored values: its `output`, the mode of each image field, and the decoder.

    `where` tells messages which split it is.
    """

    where: str
    output: str
    modes: Mapping[str, str | None]
    decoder: Decoder


class View(ABC):
    """Samples of converted splits, read in whole batches: `Reader`, `Selection` or `Concat`."""

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: Any) -> list[Any]:
        """Read many samples at once, in the order of `indices`."""

    @abstractmethod
    def read_columns(self, indices: Any, out: Mapping[str, NDArray[Any]] | None = None) -> dict[str, Any]:
        """Read stored values, one column per field, before any decoding."""

    @abstractmethod
    def read_values(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Read some fields, decoded but not transformed."""

    @abstractmethod
    def scalars(self, name: str) -> NDArray[Any]:
        """Return a scalar field of all samples, shape (N,), without reading any sample."""

    @property
    @abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The fields of a sample."""

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """The class names, in the order of their numbers."""

    @property
    @abstractmethod
    def targets(self) -> NDArray[Any]:
        """The labels of all samples, without reading any sample."""

    @property
    @abstractmethod
    def sample_type(self) -> Literal["tuple", "dict"]:
        """What a sample is."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where the samples lie, for messages."""

    @property
    @abstractmethod
    def is_plain(self) -> bool:
        """Whether samples are what is stored: no transform and no subclass changes them."""

    @property
    @abstractmethod
    def decoding(self) -> Decoding | None:
        """How all samples are made of the columns that `read_columns` gives; ``None`` where that is not all."""

    @abstractmethod
    def locate(self, index: int) -> tuple["View", int]:
        """Return the reader that has sample `index`, and its number there."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return what decides about the samples, as JSON values without any path."""

    @abstractmethod
    def reopened(self) -> "View":
        """Return the same samples as arrays, every stored value checked, whatever the view's own options are."""

    @property
    @abstractmethod
    def labels_from(self) -> str:
        """Where the labels were found when the split was made, in words; empty where nothing was said."""

    @property
    def label_audit(self) -> LabelAudit:
        """Which classes there are, with numbers and counts, and where the labels came from; print it."""
        label = label_field(self.fields) or next((f for f in self.fields if f.name == "labels"), None)  # of objects
        if label is None:
            return LabelAudit(None)
        return audit_labels(label, self.scalars(label.name) if label.is_scalar else None, self.labels_from)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name to number."""
        return {name: number for number, name in enumerate(self.classes)}

    def select(self, which: Any, columns: Sequence[str] = ()) -> "Selection":
        """Return some of the samples, in any order, as a data set that still reads in batches.

        Parameters
        ----------
        which : callable, or array of bool or int, or slice
            A callable gets a dict of the scalar fields of a sample (numbers and
            labels, which are known without reading) and says whether it is wanted.
            An array of bool has one value per sample.
        columns : sequence of str
            Further fields to read for the callable.

        Raises
        ------
        ConfigError
            If a column is unknown, or an array of bool has another length.

        Examples
        --------
        >>> dogs = reader.select(reader.targets == reader.class_to_idx["dog"])  # doctest: +SKIP
        >>> wide = reader.select(lambda s: s["width"] > 640)  # doctest: +SKIP
        >>> long = reader.select(lambda s: len(s["caption"]) > 80, columns=["caption"])  # doctest: +SKIP
        """
        return Selection(self, _chosen_samples(self, which, columns))

    def concat(self, *others: "View") -> "Concat":
        """Return these samples followed by those of others; nothing is copied. See `concat`."""
        return Concat([self, *others])


class Selection(View, Subset[Any]):
    """Some samples of a reader, in any order; a ``torch.utils.data.Subset`` that reads in batches.

    Parameters
    ----------
    dataset : View
    indices : sequence of int
        Which samples; negative ones count from the end. Kept, and pickled, as
        one int64 array.

    Raises
    ------
    TypeError, IndexError
        If `indices` are not those of samples.
    """

    dataset: View  # type: ignore[assignment]  # a Subset takes any data set
    indices: NDArray[np.int64]  # type: ignore[assignment]  # a Subset takes any sequence

    def __init__(self, dataset: View, indices: Any) -> None:
        positions = as_positions(indices, len(dataset), type(dataset).__name__).copy()
        if isinstance(dataset, Selection):
            positions, dataset = dataset.indices[positions], dataset.dataset
        self.dataset, self.indices = dataset, positions

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, indices: Any) -> list[Any]:
        """Read many samples at once, in the order of `indices`."""
        return self.dataset.__getitems__(self._chosen(indices))

    def read_columns(self, indices: Any, out: Mapping[str, NDArray[Any]] | None = None) -> dict[str, Any]:
        """Read stored values, as `Reader.read_columns`."""
        return self.dataset.read_columns(self._chosen(indices), out)

    def read_values(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Read some fields, decoded but not transformed, as `Reader.read_values`."""
        return self.dataset.read_values(self._chosen(indices), columns)

    def _chosen(self, indices: Any) -> NDArray[np.int64]:
        return self.indices[as_positions(indices, len(self), type(self).__name__)]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a sample."""
        return self.dataset.fields

    @property
    def classes(self) -> list[str]:
        """The class names of the whole data set."""
        return self.dataset.classes

    @property
    def targets(self) -> NDArray[Any]:
        """The labels of these samples, without reading any sample."""
        return np.asarray(self.dataset.targets[self.indices])

    def scalars(self, name: str) -> NDArray[Any]:
        """Return a scalar field of these samples, without reading any sample."""
        return np.asarray(self.dataset.scalars(name)[self.indices])

    @property
    def labels_from(self) -> str:
        """Where the labels of the data set were found."""
        return self.dataset.labels_from

    @property
    def sample_type(self) -> Literal["tuple", "dict"]:
        """What a sample is."""
        return self.dataset.sample_type

    @property
    def where(self) -> str:
        """Where the whole data set lies."""
        return self.dataset.where

    @property
    def is_plain(self) -> bool:
        """Whether nobody changes the samples."""
        return reads_as(self, Selection) and self.dataset.is_plain

    @property
    def decoding(self) -> Decoding | None:
        """That of the whole data set."""
        return self.dataset.decoding if reads_as(self, Selection) else None

    def locate(self, index: int) -> tuple[View, int]:
        """Return the reader that has sample `index`, and its number there."""
        return self.dataset.locate(int(self.indices[index]))

    def content(self) -> dict[str, Any]:
        """Return the hash of the chosen numbers, and what they are chosen of."""
        return {"num_samples": len(self), "selection": digest_of(self.indices), "of": self.dataset.content()}

    def reopened(self) -> "Selection":
        """Return the same samples, checked."""
        return Selection(self.dataset.reopened(), self.indices)

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {len(self)} of the samples of\n{self.dataset!r}"


class Concat(View, Dataset[Any]):
    """The samples of several readers, one after the other, read in batches.

    Parameters
    ----------
    datasets : sequence of View
        Of any formats.

    Raises
    ------
    ConfigError
        If there are none, or the same label number means different classes, or some turn images as
        EXIF says and others do not.
    """

    def __init__(self, datasets: Sequence[View]) -> None:
        self.datasets = list(datasets)
        _check_classes(self.datasets)
        _check_exif(self.datasets)
        self._starts = np.cumsum([0, *map(len, self.datasets)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitems__(self, indices: Any) -> list[Any]:
        """Read many samples at once, in the order of `indices`."""
        samples: list[Any] = [None] * len(indices)
        for dataset, rows, positions in self._parts(indices):
            _put(samples, rows, dataset.__getitems__(positions))
        return samples

    def _parts(self, indices: Any) -> Iterator[tuple[View, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield each data set that is asked for, the rows it fills, and its own positions."""
        positions = as_positions(indices, len(self), type(self).__name__)
        numbers = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            yield self.datasets[number], rows, positions[rows] - self._starts[number]

    def read_columns(self, indices: Any, out: Mapping[str, NDArray[Any]] | None = None) -> dict[str, Any]:
        """Read stored values, as `Reader.read_columns`.

        Raises
        ------
        ConfigError
            If the data sets do not store their fields alike.
        """
        fields = self.fields
        for dataset in self.datasets:
            if dataset.fields != fields:
                raise ConfigError(f"the data sets store their fields differently: {fields} and {dataset.fields}")
        columns = {f.name: _empty(f, len(indices), (out or {}).get(f.name)) for f in fields}
        for dataset, rows, positions in self._parts(indices):
            for name, values in dataset.read_columns(positions).items():
                _put(columns[name], rows, values)
        return columns

    def read_values(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Read some fields, decoded but not transformed, as `Reader.read_values`."""
        found: dict[str, list[Any]] = {name: [None] * len(indices) for name in columns}
        for dataset, rows, positions in self._parts(indices):
            for name, values in dataset.read_values(positions, columns).items():
                _put(found[name], rows, values)
        return found

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a sample, as the first data set stores them."""
        return self.datasets[0].fields

    @property
    def classes(self) -> list[str]:
        """The class names, which are those of every data set."""
        return self.datasets[0].classes

    @property
    def targets(self) -> NDArray[Any]:
        """The labels of all samples, without reading any sample."""
        return np.concatenate([d.targets for d in self.datasets])

    def scalars(self, name: str) -> NDArray[Any]:
        """Return a scalar field of all samples, without reading any sample."""
        return np.concatenate([d.scalars(name) for d in self.datasets])

    @property
    def labels_from(self) -> str:
        """Where the labels of the data sets were found, each place once."""
        return ", ".join(dict.fromkeys(d.labels_from for d in self.datasets if d.labels_from))

    @property
    def sample_type(self) -> Literal["tuple", "dict"]:
        """What a sample of the first data set is."""
        return self.datasets[0].sample_type

    @property
    def where(self) -> str:
        """Where all data sets lie."""
        return ", ".join(dataset.where for dataset in self.datasets)

    @property
    def is_plain(self) -> bool:
        """Whether nobody changes the samples of any."""
        return reads_as(self, Concat) and all(dataset.is_plain for dataset in self.datasets)

    @property
    def decoding(self) -> Decoding | None:
        """``None``: each data set has its own."""
        return None

    def locate(self, index: int) -> tuple[View, int]:
        """Return the reader that has sample `index`, and its number there."""
        ((dataset, _, positions),) = self._parts([index])
        return dataset.locate(int(positions[0]))

    def content(self) -> dict[str, Any]:
        """Return what each data set is."""
        return {"num_samples": len(self), "concat": [dataset.content() for dataset in self.datasets]}

    def reopened(self) -> "Concat":
        """Return the same samples, checked."""
        return Concat([dataset.reopened() for dataset in self.datasets])

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}: {len(self)} samples of", *map(repr, self.datasets)])


def _empty(field: Field, count: int, out: NDArray[Any] | None) -> Any:
    if not field.is_fixed:
        return [None] * count
    return np.empty((count, *(field.shape or ())), field.dtype) if out is None else out


def _put(column: Any, rows: NDArray[np.int64], values: Any) -> None:
    """Put values into these rows of an array or a list."""
    if isinstance(column, np.ndarray):
        column[rows] = values
    else:
        for row, value in zip(rows.tolist(), values, strict=True):
            column[row] = value


def _check_classes(datasets: Sequence[View]) -> None:
    if not datasets:
        raise ConfigError("there is no reader to join; give at least one")
    first, *rest = (list(dataset.classes) for dataset in datasets)
    for other in rest:
        if other != first:
            raise ConfigError(
                f"the classes differ: {_short(first)} and {_short(other)}; the same number would mean different "
                "classes. Convert one anew with the other's classes, or use torch's ConcatDataset with a "
                "target_transform that maps the numbers"
            )


def _check_exif(datasets: Sequence[View]) -> None:
    """Raise `ConfigError` if image files are turned in some data sets and not in others."""
    found = [{f.name: f.exif for f in dataset.fields if f.kind == "image" and not f.is_fixed} for dataset in datasets]
    if any(found[0].get(name, exif) != exif for other in found for name, exif in other.items()):
        raise ConfigError(
            "some data sets turn images as EXIF says and others do not: open all readers with exif='apply', or all "
            "with exif='ignore'"
        )


def _short(classes: list[str]) -> str:
    shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    return f"{len(classes)} ({shown})" if classes else "none"


def concat(datasets: Sequence[View]) -> Concat:
    """Join readers, of any formats, to one data set; see `Concat`.

    Examples
    --------
    >>> both = concat([IpcReader("photos"), TarReader("more")])  # doctest: +SKIP
    """
    return Concat(datasets)


def as_view(value: Any) -> View | None:
    """Return a view, or torch's ``Subset`` of one as a `Selection`; ``None`` for all else.

    A subclass of ``Subset`` that reads otherwise is none.
    """
    if isinstance(value, View):
        return value
    if not isinstance(value, Subset) or not reads_as(value, Subset):
        return None
    whole = as_view(value.dataset)
    return None if whole is None else Selection(whole, value.indices)


def _chosen_samples(dataset: View, which: Any, columns: Sequence[str]) -> Any:
    """Return the indices of the samples that `View.select` is asked for."""
    if callable(which):
        which = np.fromiter(_wanted(dataset, which, columns), bool, len(dataset))
    elif columns:
        raise ConfigError(f"columns={list(columns)!r} are read for a callable; leave them out with indices")
    if isinstance(which, slice):
        return np.arange(len(dataset))[which]
    which = np.asarray(which)
    if which.dtype == bool:
        if which.shape != (len(dataset),):
            raise ConfigError(f"an array of bool has one value per sample: {len(dataset)}, not {which.shape}")
        which = np.flatnonzero(which)
    return which


def _wanted(dataset: View, predicate: Callable[[dict[str, Any]], Any], columns: Sequence[str]) -> Iterator[bool]:
    fields = {f.name: f for f in dataset.fields}
    for name in columns:
        if name not in fields:
            raise ConfigError(f"columns={list(columns)!r}: there is no {name!r}; choose from {', '.join(fields)}")
    scalars = {name: dataset.scalars(name) for name, f in fields.items() if f.is_scalar}
    for start in range(0, len(dataset), _BATCH):
        stop = min(start + _BATCH, len(dataset))
        read = dataset.read_values(range(start, stop), columns) if columns else {}
        batch = {name: values[start:stop].tolist() for name, values in scalars.items()} | read
        for row in range(stop - start):
            yield bool(predicate({name: values[row] for name, values in batch.items()}))
