"""How each field of a stored sample becomes its part of a batch.

A batcher makes a store for a batch (`begin`), is given the stored values of one part of the
batch at a time (`fill`, by any thread), and makes what the user gets (`finish`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shardwright.base.errors import ShardwrightError
from shardwright.base.fields import Field
from shardwright.base.images import Decoder, decode, to_array
from shardwright.base.images.decode import channels_first
from shardwright.base.images.info import may_be_turned
from shardwright.base.images.masks import ids_as_tensor
from shardwright.base.images.partial import crop_header, decode_into, decode_rows
from shardwright.base.images.probe import JpegHeader
from shardwright.base.values.restore import restore, restore_array
from shardwright.training.crops import Window, shrunk_window, uniforms
from shardwright.training.pixels import Pixels, Workspace
from shardwright.training.ring import Pool, Ring, Slot
from shardwright.training.transforms import FusedTransform

__all__ = [
    "Batcher",
    "ConvertedBatcher",
    "FixedBatcher",
    "ImageBatcher",
    "ListBatcher",
    "Piece",
    "ScalarBatcher",
    "Tools",
    "naming",
]


Opened = tuple[tuple[int, int], Callable[[int, int], tuple[Pixels, int]]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of rows of one batch, their samples in the data set, and the first one's place in the epoch."""

    start: int
    stop: int
    samples: NDArray[np.int64]
    first: int
    seed: int
    epoch: int

    def numbers(self, count: int) -> NDArray[np.float64]:
        """Return `count` random numbers for each sample."""
        positions = np.arange(self.first, self.first + len(self.samples))
        return uniforms(self.seed, self.epoch, positions, self.samples, count)


class Tools:
    """What one thread uses again and again."""

    def __init__(self) -> None:
        self.space = Workspace()
        self.packed: dict[str, NDArray[np.uint8]] = {}

    def keep_up(self, name: str, values: list[memoryview]) -> None:
        """Make the buffer of a field large enough for such values."""
        size = sum(map(len, values))
        if name not in self.packed or self.packed[name].size < size:
            self.packed[name] = np.empty(size + size // 4, np.uint8)


@contextmanager
def naming(sample: Any, where: str) -> Iterator[None]:
    """Say in every error which sample it came from."""
    try:
        yield
    except ShardwrightError as error:
        raise type(error)(f"sample {sample} of {where}: {error}") from error
    except Exception as error:
        error.add_note(f"It came from sample {sample} of {where}.")
        raise


class Batcher(ABC):
    """A field of the samples and what it becomes in a batch."""

    def __init__(self, field: Field, where: str) -> None:
        self.field, self.where = field, where

    @abstractmethod
    def begin(self, count: int) -> Any:
        """Return a store for a batch of `count` samples."""

    def out(self, store: Any, part: Piece, tools: Tools) -> NDArray[Any] | None:
        """Return where the stored values are to be read to; ``None``: anywhere."""
        return None

    @abstractmethod
    def fill(self, store: Any, part: Piece, values: Any, tools: Tools) -> None:
        """Take the stored values of a part."""

    def finish(self, store: Any, count: int) -> Any:
        """Return what the user gets."""
        return store

    def _each(self, part: Piece, function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
        """Call a function with the values of each sample of a part; an error names the sample."""
        results: list[Any] = []
        try:
            for result in map(function, *columns):
                results.append(result)  # noqa: PERF402  # their number tells the sample that fails
        except Exception:
            with naming(part.samples[min(len(results), len(part.samples) - 1)], self.where):
                raise
        return results


class ScalarBatcher(Batcher):
    """Numbers, which become one tensor."""

    def begin(self, count: int) -> Tensor:
        """Return an empty tensor."""
        return torch.from_numpy(np.empty(count, self.field.dtype))

    def fill(self, store: Tensor, part: Piece, values: Any, tools: Tools) -> None:
        """Copy."""
        store.numpy()[part.start : part.stop] = values


class ListBatcher(Batcher):
    """Values of varying size, which become a list."""

    def __init__(self, field: Field, where: str, output: str, mode: str | None, decoder: Decoder) -> None:
        super().__init__(field, where)
        self.output, self.mode, self.decoder = output, mode, decoder
        self._pool = Pool()

    def begin(self, count: int) -> list[Any]:
        """Return a list to be filled."""
        return [None] * count

    def out(self, store: Any, part: Piece, tools: Tools) -> NDArray[Any] | None:
        """Return the thread's buffer: what is restored does not refer to it."""
        return tools.packed.get(self.field.name)

    def fill(self, store: list[Any], part: Piece, values: Any, tools: Tools) -> None:
        """Restore each value."""
        tools.keep_up(self.field.name, values)
        # All headers, then all pixels: a decoder leaves nothing of our own code in the processor's caches.
        places = self._each(part, self._place, values)
        store[part.start : part.stop] = self._each(part, self._restored, values, places)

    def _place(self, value: memoryview) -> Pixels | None:
        """Return where an image is decoded to; ``None``: to memory of its own."""
        if self.field.kind == "image" and self.output in ("numpy", "tensor") and self.decoder in ("auto", "fast"):
            header = _header(value, self.field)
            if header is not None and self.mode in ("RGB", None if header.components == 3 else "RGB"):
                return self._pool.pixels((header.height, header.width, 3))
        return None

    def _restored(self, value: memoryview, place: Pixels | None) -> Any:
        if place is None:
            return restore(self.field, value, self.output, self.mode, self.decoder)
        pixels = decode_into(value, place, decoder=self.decoder)
        return pixels if self.output == "numpy" else channels_first(torch.from_numpy(pixels))


class FixedBatcher(Batcher):
    """Arrays of one size, read straight into the batch."""

    def __init__(self, field: Field, where: str, ring: Ring) -> None:
        super().__init__(field, where)
        self.ring = ring

    def begin(self, count: int) -> Slot:
        """Take a buffer."""
        return self.ring.take(count)

    def out(self, store: Slot, part: Piece, tools: Tools) -> NDArray[Any]:
        """Return the rows of the part."""
        rows: NDArray[Any] = store.tensor[part.start : part.stop].numpy()
        return rows

    def fill(self, store: Slot, part: Piece, values: Any, tools: Tools) -> None:
        """Do nothing: the values are there."""

    def finish(self, store: Slot, count: int) -> Tensor:
        """Lend the buffer, images as (N, C, H, W)."""
        batch = store.hand_out(count)
        if not self.field.is_image:
            return batch
        if self.field.kind == "mask":
            return ids_as_tensor(batch[..., 0] if batch.ndim == 4 and batch.shape[3] == 1 else batch, batch=True)
        return batch if self.field.layout == "CHW" and batch.ndim == 4 else channels_first(batch, batch=True)


def _header(value: memoryview, field: Field) -> JpegHeader | None:
    """Return the header of a JPEG that is decoded row by row; ``None`` of all else, and of one that is turned."""
    if field.exif == "apply" and may_be_turned(bytes(value)):
        return None
    return crop_header(value)


def _raw_rows(field: Field, part: Piece, tools: Tools) -> NDArray[Any]:
    """Return the thread's buffer for the raw images of a part."""
    count = part.stop - part.start
    # The blank keeps it apart from the transforms' own buffers: no field has one in its name.
    raw = tools.space.pixels(f"raw {field.name}", (count, field.nbytes, 1))
    return raw.view(np.dtype(field.dtype)).reshape(count, *(field.shape or ()))


class ConvertedBatcher(Batcher):
    """Raw images of one size, in another mode than the stored one."""

    def __init__(self, field: Field, where: str, mode: str, pin: bool) -> None:
        super().__init__(field, where)
        self.mode = mode
        stored = np.zeros(field.shape or (), field.dtype)
        sample: NDArray[np.generic] = restore_array(field, stored, "numpy", mode)
        self.ring = Ring(sample.shape, torch.from_numpy(sample).dtype, pin)

    def begin(self, count: int) -> Slot:
        """Take a buffer."""
        return self.ring.take(count)

    def out(self, store: Slot, part: Piece, tools: Tools) -> NDArray[np.generic]:
        """Return the thread's buffer for what is not yet converted."""
        return _raw_rows(self.field, part, tools)

    def fill(self, store: Slot, part: Piece, values: NDArray[np.generic], tools: Tools) -> None:
        """Convert each image."""
        rows = store.tensor[part.start : part.stop].numpy()
        self._each(part, self._convert, values, rows)

    def _convert(self, value: NDArray[np.generic], row: NDArray[np.generic]) -> None:
        row[...] = restore_array(self.field, value, "numpy", self.mode)

    def finish(self, store: Slot, count: int) -> Tensor:
        """Lend the buffer, as (N, C, H, W)."""
        return channels_first(store.hand_out(count), batch=True)


class ImageBatcher(Batcher):
    """Images that go through a fused transform into the batch."""

    def __init__(self, field: Field, where: str, ring: Ring, transform: FusedTransform, decoder: Decoder) -> None:
        super().__init__(field, where)
        self.ring, self.transform, self.decoder = ring, transform, decoder

    def begin(self, count: int) -> Slot:
        """Take a buffer."""
        return self.ring.take(count)

    def out(self, store: Slot, part: Piece, tools: Tools) -> NDArray[Any] | None:
        """Return the thread's buffer for what is not yet transformed."""
        if not self.field.is_fixed:
            return tools.packed.get(self.field.name)
        return _raw_rows(self.field, part, tools)

    def fill(self, store: Slot, part: Piece, values: Any, tools: Tools) -> None:
        """Decode and transform each image."""
        if not self.field.is_fixed:
            tools.keep_up(self.field.name, values)
        images = self._each(part, self._open, values, repeat(tools.space))
        sizes = np.array([size for size, _ in images], np.int64).reshape(-1, 2)
        windows = self.transform.windows(sizes, part.numbers(self.transform.draws))
        rows = store.tensor[part.start : part.stop].unbind()
        self._each(part, self._transform, zip(images, windows, rows, strict=True), repeat(tools.space))

    def _transform(self, job: tuple[Opened, tuple[Window, bool], Tensor], space: Workspace) -> None:
        """Decode one image as far as its window needs, and transform it into its row of the batch."""
        (_, pixels_of), (window, flip), out = job
        pixels, shrink = pixels_of(window[0] + window[2], self.transform.shrink(window))
        place = window if shrink == 1 else shrunk_window(window, shrink)
        self.transform.apply(pixels, place, flip, out, space)

    def _open(self, value: Any, space: Workspace) -> Opened:
        """Return the size of an image, and what gives its pixels down to a row, and how far they are shrunk."""
        if self.field.is_fixed:
            pixels = self._rgb(value)
        else:
            header = _header(value, self.field) if self.decoder in ("auto", "fast") else None
            if header is not None:
                size, place = (header.height, header.width), partial(space.pixels, "decoded")
                rows = partial(decode_rows, value, header, place=place, decoder=self.decoder)
                return size, lambda stop, shrink: (rows(stop, shrink=shrink), shrink)
            pixels = decode(value, "RGB", exif=self.field.exif, decoder=self.decoder)
        return (pixels.shape[0], pixels.shape[1]), lambda stop, shrink: (pixels, 1)  # noqa: ARG005

    def _rgb(self, raw: NDArray[Any]) -> Pixels:
        if self.field.layout == "CHW" and raw.ndim == 3:
            raw = raw.transpose(1, 2, 0)
        return np.ascontiguousarray(raw) if self.field.mode == "RGB" else to_array(raw, "RGB")

    def finish(self, store: Slot, count: int) -> Tensor:
        """Lend the buffer as (N, C, H, W)."""
        return channels_first(store.hand_out(count), batch=True)
