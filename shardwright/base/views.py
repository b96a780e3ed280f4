"""Some samples of a reader, or those of several readers, as data sets that still read in batches.

`Selection` is what ``reader.select(...)`` gives, `concat` joins readers. Both
pass whole batches on: torch's own ``ConcatDataset`` asks for every sample alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field

__all__ = ["Concat", "Selection", "View", "as_positions", "chosen_samples", "concat", "reads_as", "select"]

_READS = ("__len__", "__getitem__", "__getitems__")
_BATCH = 1024  # samples that a predicate's columns are read for at a time


class View(ABC):
    """What readers, selections and joined readers share: they read whole batches."""

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])[0]

    @abstractmethod
    def __getitems__(self, indices: Any) -> list[Any]:
        """Read many samples at once, in the order of `indices`."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """The class names, in the order of their numbers."""

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def select(self, which: Any, columns: Sequence[str] = ()) -> "Selection":
        """Return some of the samples, in any order, as a data set that still reads in batches.

        Parameters
        ----------
        which : callable, or array of bool or int, or slice
            A callable gets the scalar fields of a sample as a dict, known without
            reading, and says whether it is wanted.
        columns : sequence of str
            Further fields to read for the callable.

        Examples
        --------
        >>> dogs = reader.select(reader.targets == 3)  # doctest: +SKIP
        >>> heavy = reader.select(lambda sample: sample["weight"] > 2.5)  # doctest: +SKIP
        """
        return select(self, which, columns)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name to number."""
        return {name: number for number, name in enumerate(self.classes)}


class Selection(View, Subset[Any]):
    """Some samples of a reader, in any order; a ``torch.utils.data.Subset`` that reads in batches.

    Parameters
    ----------
    dataset : Reader, Selection or Concat
    indices : sequence of int
        Which samples; negative ones count from the end. Kept, and pickled, as
        one int64 array.

    Raises
    ------
    TypeError, IndexError
        If `indices` are not those of samples.
    """

    dataset: Any
    indices: NDArray[np.int64]  # type: ignore[assignment]  # a Subset takes any sequence

    def __init__(self, dataset: Any, indices: Any) -> None:
        positions = as_positions(indices, len(dataset), type(dataset).__name__)
        if isinstance(dataset, Selection):
            dataset, positions = dataset.dataset, dataset.indices[positions]
        self.dataset, self.indices = dataset, positions

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, indices: Any) -> list[Any]:
        """Read many samples at once, in the order of `indices`."""
        return list(self.dataset.__getitems__(self._chosen(indices)))

    def read_columns(self, indices: Any, out: Mapping[str, NDArray[Any]] | None = None) -> dict[str, Any]:
        """Read stored values, as `Reader.read_columns`."""
        return dict(self.dataset.read_columns(self._chosen(indices), out))

    def read_values(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Read some fields, decoded but not transformed, as `Reader.read_values`."""
        return dict(self.dataset.read_values(self._chosen(indices), columns))

    def _chosen(self, indices: Any) -> NDArray[np.int64]:
        return self.indices[as_positions(indices, len(self), type(self).__name__)]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a sample."""
        return tuple(self.dataset.fields)

    @property
    def classes(self) -> list[str]:
        """The class names of the whole data set."""
        return list(self.dataset.classes)

    @property
    def targets(self) -> NDArray[Any]:
        """The labels of these samples, without reading any sample."""
        return np.asarray(self.dataset.targets[self.indices])

    def scalars(self, name: str) -> NDArray[Any]:
        """Return a scalar field of these samples, without reading any sample."""
        return np.asarray(self.dataset.scalars(name)[self.indices])

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {len(self)} of the samples of\n{self.dataset!r}"


def select(dataset: Any, which: Any, columns: Sequence[str] = ()) -> Selection:
    """Return some samples of a reader as a data set.

    Parameters
    ----------
    dataset : Reader, Selection or Concat
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
    return Selection(dataset, chosen_samples(dataset, which, columns))


class Concat(View, Dataset[Any]):
    """The samples of several readers, one after the other, read in batches.

    Parameters
    ----------
    datasets : sequence of Reader, Selection or Concat
        Of any formats.

    Raises
    ------
    ConfigError
        If there are none, or the same label number means different classes.
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        _check_classes(self.datasets)
        self._starts = np.cumsum([0, *map(len, self.datasets)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitems__(self, indices: Any) -> list[Any]:
        """Read many samples at once, in the order of `indices`."""
        samples: list[Any] = [None] * len(indices)
        for dataset, rows, positions in self._parts(indices):
            _put(samples, rows, dataset.__getitems__(positions))
        return samples

    def locate(self, index: int) -> tuple[Any, int]:
        """Return the data set that sample `index` is of, and its number there."""
        ((dataset, _, positions),) = self._parts([index])
        return dataset, int(positions[0])

    def _parts(self, indices: Any) -> Iterator[tuple[Any, NDArray[np.int64], NDArray[np.int64]]]:
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
            if tuple(dataset.fields) != fields:
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
        return tuple(self.datasets[0].fields)

    @property
    def classes(self) -> list[str]:
        """The class names, which are those of every data set."""
        return list(self.datasets[0].classes)

    @property
    def targets(self) -> NDArray[Any]:
        """The labels of all samples, without reading any sample."""
        return np.concatenate([d.targets for d in self.datasets])

    def scalars(self, name: str) -> NDArray[Any]:
        """Return a scalar field of all samples, without reading any sample."""
        return np.concatenate([d.scalars(name) for d in self.datasets])

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


def _check_classes(datasets: Sequence[Any]) -> None:
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


def _short(classes: list[str]) -> str:
    shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    return f"{len(classes)} ({shown})" if classes else "none"


def concat(datasets: Sequence[Any]) -> Concat:
    """Join readers, of any formats, to one data set; see `Concat`.

    Examples
    --------
    >>> both = concat([IpcReader("photos"), TarReader("more")])  # doctest: +SKIP
    """
    return Concat(datasets)


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
    bad = (positions >= length) | (positions < -length)
    if bad.any():
        raise IndexError(f"index {positions[bad][0]} is out of range for a split of {length} samples")
    positions = positions.astype(np.int64, copy=False)
    return np.where(positions < 0, positions + length, positions)


def chosen_samples(dataset: Any, which: Any, columns: Sequence[str]) -> Any:
    """Return the indices of the samples that `select` is asked for.

    Parameters
    ----------
    dataset : Reader, Selection or Concat
    which, columns
        As for `select`.

    Raises
    ------
    ConfigError
        If a column is unknown, or an array of bool has another length.
    """
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


def _wanted(dataset: Any, predicate: Callable[[dict[str, Any]], Any], columns: Sequence[str]) -> Iterator[bool]:
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
