"""What a loader's threads do to make a batch: from a reader at full speed, or from any data set."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from threading import local
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Subset, default_collate

from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.images import to_array
from shardwright.base.values.tv_tensors import as_tv_tensors
from shardwright.base.views import Decoding, View, as_view
from shardwright.training.batchers import (
    Batcher,
    ConvertedBatcher,
    FixedBatcher,
    ImageBatcher,
    ListBatcher,
    Piece,
    ScalarBatcher,
    Tools,
    naming,
)
from shardwright.training.ring import Ring
from shardwright.training.transforms import FusedTransform

__all__ = ["ReaderWork", "SampleWork", "Work", "choose_work", "on_tensors"]

_THREAD = local()


def thread_tools() -> Tools:
    """Return this thread's buffers."""
    try:
        tools: Tools = _THREAD.tools
    except AttributeError:
        tools = _THREAD.tools = Tools()
    return tools


class Work(ABC):
    """Makes batches, part by part."""

    part_size: int = 16  # samples that one thread takes at a time
    ahead: int = 2  # batches that are well made ahead of the one in use

    def numbers(self, indices: Sequence[Any]) -> NDArray[Any]:
        """Return the indices of a batch as one array."""
        return np.asarray(indices)

    @abstractmethod
    def begin(self, count: int) -> Any:
        """Return a store for a batch of `count` samples."""

    @abstractmethod
    def fill(self, store: Any, part: Piece, indices: Sequence[Any]) -> None:
        """Make the samples of a part; called by any thread."""

    @abstractmethod
    def finish(self, store: Any, count: int) -> Any:
        """Return the batch, after the last part."""


class ReaderWork(Work):
    """Stored values of a view, in whole columns."""

    def __init__(self, view: View, decoding: Decoding, transform: FusedTransform | None, pin: bool) -> None:
        self.view, where = view, decoding.where
        target = next((f for f in view.fields if f.is_image), None) if transform else None
        if transform and target is None:
            raise ConfigError(f"{where} has no image for {transform!r}")
        masks = [f.name for f in view.fields if f.kind == "mask"]
        if transform and masks:
            raise ConfigError(
                f"{type(transform).__name__} moves pixels of the image only, so the mask {masks[0]!r} would no longer "
                "fit; use transforms= of the reader, or columns= without the mask"
            )
        self.columns = [
            ImageBatcher(f, where, Ring((*transform.size, 3), transform.dtype, pin), transform, decoding.decoder)
            if transform and f is target
            else _plain_column(f, decoding, pin)
            for f in view.fields
        ]
        self._as_tv_tensors = as_tv_tensors(view.fields) if decoding.output == "tv_tensor" and not transform else None
        if transform is None:
            self.ahead = 1  # batches of whole images are large: the fewer at a time, the more stays in the cache
        if all(isinstance(c, (FixedBatcher, ScalarBatcher)) for c in self.columns):
            self.part_size = 256  # nothing to compute: the fewer calls the better

    def begin(self, count: int) -> list[Any]:
        """Return one store per column."""
        return [column.begin(count) for column in self.columns]

    def fill(self, store: list[Any], part: Piece, indices: Sequence[Any]) -> None:
        """Read, then have each column take its values."""
        tools = thread_tools()
        out = {}
        for column, kept in zip(self.columns, store, strict=True):
            array = column.out(kept, part, tools)
            if array is not None:
                out[column.field.name] = array
        values = self.view.read_columns(part.samples, out)
        for column, kept in zip(self.columns, store, strict=True):
            column.fill(kept, part, values[column.field.name], tools)

    def finish(self, store: list[Any], count: int) -> Any:
        """Return the columns in the shape of a sample."""
        values = [column.finish(kept, count) for column, kept in zip(self.columns, store, strict=True)]
        if self._as_tv_tensors:
            samples = list(map(self._as_tv_tensors, zip(*values, strict=True)))
            # What is one tensor stays one: `default_collate` makes plain tensors, too.
            values = [[s[k] for s in samples] if isinstance(v, list) else v for k, v in enumerate(values)]
        if self.view.sample_type == "dict":
            return {column.field.name: value for column, value in zip(self.columns, values, strict=True)}
        return values if len(values) > 1 else values[0]


def _plain_column(field: Field, decoding: Decoding, pin: bool) -> Batcher:
    where, mode = decoding.where, decoding.modes.get(field.name)
    if field.is_scalar:
        return ScalarBatcher(field, where)
    if field.is_fixed and field.kind == "image" and mode is not None and mode != field.mode:
        return ConvertedBatcher(field, where, mode, pin)
    if field.is_fixed:
        dtype = torch.from_numpy(np.empty(0, field.dtype)).dtype
        return FixedBatcher(field, where, Ring(field.shape or (), dtype, pin))
    return ListBatcher(field, where, decoding.output, mode, decoding.decoder)


class SampleWork(Work):
    """Samples of any map-style data set, one at a time."""

    def __init__(
        self,
        dataset: Any,
        transform: Callable[[Any], Any] | None,
        collate: Callable[[list[Any]], Any] | None,
        pin: bool,
    ) -> None:
        self.dataset, self.transform, self.pin = dataset, transform, pin
        self.collate = collate or default_collate
        fields = _fields(dataset)
        self._first = next((n for n, f in enumerate(fields) if f.is_image), 0)
        self._key = fields[self._first].name if fields else "image"

    def numbers(self, indices: Sequence[Any]) -> NDArray[Any]:
        """Return the indices of a batch as one array; 0 where they are names, which only some data sets take."""
        samples = np.asarray(indices)
        return samples if samples.dtype.kind in "iu" else np.zeros(len(indices), np.int64)

    def begin(self, count: int) -> list[Any]:
        """Return a list to be filled."""
        return [None] * count

    def fill(self, store: list[Any], part: Piece, indices: Sequence[Any]) -> None:
        """Ask the data set for each sample."""
        for row, index in enumerate(indices):
            with naming(index, f"{type(self.dataset).__name__}"):
                store[part.start + row] = self._transformed(self.dataset[index], part, row)

    def _transformed(self, sample: Any, part: Piece, row: int) -> Any:
        if self.transform is None:
            return sample
        if isinstance(sample, dict):
            key = self._key if self._key in sample else next(iter(sample))
            return sample | {key: self._image(sample[key], part, row)}
        if isinstance(sample, (tuple, list)):
            first = self._first if self._first < len(sample) else 0  # a reader's transforms= may return anything
            return (*sample[:first], self._image(sample[first], part, row), *sample[first + 1 :])
        return self._image(sample, part, row)

    def _image(self, image: Any, part: Piece, row: int) -> Any:
        if not isinstance(self.transform, FusedTransform):
            return self.transform(image)  # type: ignore[misc]  # only called where there is one
        pixels = to_array(image, "RGB")
        return self.transform.on_pixels(pixels, part.numbers(self.transform.draws)[row : row + 1], thread_tools().space)

    def finish(self, store: list[Any], count: int) -> Any:
        """Collate."""
        batch = self.collate(store)
        return on_tensors(batch, Tensor.pin_memory) if self.pin else batch


def _fields(dataset: Any) -> tuple[Field, ...]:
    """Return the fields of the samples of a view, or of a part of one; () of other data sets."""
    while isinstance(dataset, Subset) and not isinstance(dataset, View):
        dataset = dataset.dataset
    return dataset.fields if isinstance(dataset, View) else ()


def choose_work(
    dataset: Any,
    transform: Callable[[Any], Any] | None,
    collate: Callable[[list[Any]], Any] | None,
    pin: bool,
) -> Work:
    """Return the fastest way to make batches of a data set."""
    view = as_view(dataset)
    decoding = view.decoding if view is not None else None
    if (
        view is not None
        and decoding is not None
        and len({f.name for f in view.fields}) == len(view.fields)  # columns= may name one twice
        and collate is None
        and (transform is None or isinstance(transform, FusedTransform))
    ):
        return ReaderWork(view, decoding, transform, pin)
    return SampleWork(dataset, transform, collate, pin)


def on_tensors(batch: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor of a batch, however it is nested."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {key: on_tensors(value, function) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(on_tensors(value, function) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(on_tensors(value, function) for value in batch)
    return batch
