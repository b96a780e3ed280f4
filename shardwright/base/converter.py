"""Converter: the contract of a format for writing.

A format writes one shard as a standard file of its ecosystem and says, in its
reader, where in that file each sample's bytes lie. Everything else is here and
the same for all formats: input, worker processes, shard edges, crash safety,
resume, ranks, index, checks.

A new format derives from one of

`ConverterFixedSize`
    All values of a field have one dtype and shape. It implements
    ``_init_arrays(path, num_samples, fields)``: a context manager that gives
    one writable array of shape (num_samples, *field.shape) per field name.
`ConverterFlexibleSize`
    Values of any size. It implements ``_open_shard(path, fields)``: a context
    manager for one open shard; and ``_write_data_to_disk(shard, batch)``,
    called once per batch, so that memory is bounded by a batch.

Either may override ``_custom_collate_fn(batch)``, which runs in the worker
processes: it gets the samples as dicts of raw values and returns one column per
field. Whatever it makes of the samples is what is stored.

Hooks get everything as arguments and keep no state. What a shard holds must
depend on the samples alone, never on the size of batches. After a shard is
written, every value is read back at the place where the reader's ``_locate``
found it and its hash is compared with that of the value that went in, so a
format that clips, shifts or reorders fails here and not in training.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shardwright.base import images
from shardwright.base.arguments import check_choice, check_shape
from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.images import masks
from shardwright.base.images.resize import Shrink
from shardwright.base.values.columns import Batch
from shardwright.base.values.mask_values import image_size, shown_type
from shardwright.base.writing.conversion import Converter

__all__ = ["Converter", "ConverterFixedSize", "ConverterFlexibleSize"]


DEFAULT_SHAPE = (224, 224)


class ConverterFixedSize(Converter):
    """A converter whose fields all have one dtype and shape; images are decoded and resized.

    Parameters
    ----------
    shape : (int, int) or None
        Height and width of all images; ``None`` takes those of the first and
        demands the same of all others. Images that are stored as arrays of numbers (float) keep their own size, and are
        refused where another one is asked for.
    im_mode : {"RGB", "L", "RGBA", "I;16"}
        Pillow mode of all images.
    layout : {"NHWC", "NCHW"}
        Order of the axes of images on disk. With ``"NCHW"`` arrays of numbers that are known to
        lie channels-last, as of ``ArraySource(x, layout="NHWC")``, are turned too.
    **options
        As `Converter`.
    """

    fixed_size = True

    def __init__(
        self,
        input_data: Any,
        output_path: str | Path,
        images_per_file: int = 1000,
        batch_size: int = 100,
        num_workers: int = 4,
        shape: tuple[int, int] | None = DEFAULT_SHAPE,
        im_mode: str = "RGB",
        *,
        layout: Literal["NHWC", "NCHW"] = "NHWC",
        **options: Any,
    ) -> None:
        self.shape = check_shape(shape)
        self._is_shape_asked_for = shape is not DEFAULT_SHAPE
        self._resize = self.shape is not None
        self.im_mode = check_choice("im_mode", im_mode, images.MODES)
        self.layout = check_choice("layout", layout, ("NHWC", "NCHW"))
        super().__init__(input_data, output_path, images_per_file, batch_size, num_workers, **options)

    def _options(self) -> dict[str, Any]:
        shape = None if self.shape is None else list(self.shape)
        return super()._options() | {"shape": shape, "im_mode": self.im_mode, "layout": self.layout}

    def _stored_field(self, field: Field, value: Any) -> Field:
        if field.is_image:
            return self._stored_image(field, value)
        if field.kind == "array":
            return self._stored_array(field, value)
        if field.is_fixed:
            return field
        raise ConfigError(
            f"field {field.name!r} ({field.kind}) has values of different sizes, which {self.format_name} "
            "does not store; choose parquet, pyarrow_ipc or tar, or leave the field out"
        )

    def _stored_array(self, field: Field, value: Any) -> Field:
        """Return the field of arrays of one size; their axes are turned where the source knows them and it is asked."""
        self._refuse_unresized(field, value)
        if not field.is_fixed:
            array = np.asarray(value)
            field = field.fixed(array.dtype.str, array.shape)
        if self.layout == "NCHW" and self.source.array_layouts.get(field.name) == "NHWC":
            height, width, channels = field.shape or ()
            field = field.fixed(str(field.dtype), (channels, height, width), layout="CHW")
        return field

    def _refuse_unresized(self, field: Field, value: Any) -> None:
        """Raise `ConfigError` for pixels stored as numbers, which would keep their size where `shape` says another."""
        size = image_size({"image": value})
        is_pixels = field.of_masks or (field.name == "image" and self._is_shape_asked_for)
        if field.of_masks:
            size = (int(value.shape[1]), int(value.shape[2]))
        if is_pixels and size is not None and self.shape is not None and size != self.shape:
            raise ConfigError(
                f"field {field.name!r} holds {shown_type(value)}, which is stored as it is and not resized to "
                f"shape={self.shape}: give shape=None, resize it in the dataset, or give images as uint8"
            )

    def _stored_image(self, field: Field, value: Any) -> Field:
        if field.kind == "mask":
            ids = masks.to_ids(value)
            return field.fixed(field.dtype or ids.dtype.str, (*(self.shape or ids.shape[:2]), *ids.shape[2:]))
        first = images.to_array(value, self.im_mode, exif=field.exif)
        height, width = self.shape or first.shape[:2]
        channels = 1 if first.ndim == 2 else first.shape[2]
        nchw = self.layout == "NCHW"
        shape = (channels, height, width) if nchw else (height, width, channels)
        return field.fixed(first.dtype.str, shape, mode=self.im_mode, layout="CHW" if nchw else "HWC")

    def _write_shard(self, path: Path, batches: Iterator[Batch], num_samples: int, fields: tuple[Field, ...]) -> None:
        row = 0
        with self._init_arrays(path, num_samples, fields) as arrays:
            for batch in batches:
                for name, column in batch.columns.items():
                    arrays[name][row : row + len(batch)] = column
                row += len(batch)
            if row != num_samples:
                self._write_shorter(path, arrays, row, fields)
        if row != num_samples:
            _replace_by_shorter(path.parent)

    def _write_shorter(self, path: Path, arrays: Mapping[str, Any], rows: int, fields: tuple[Field, ...]) -> None:
        """Write the first `rows` samples anew, since the others were skipped and a shard's length is fixed."""
        (path.parent / "shorter").mkdir()
        with self._init_arrays(path.parent / "shorter" / path.name, rows, fields) as shorter:
            for start in range(0, rows, self.batch_size):
                for name, array in arrays.items():
                    shorter[name][start : start + self.batch_size] = array[start : min(start + self.batch_size, rows)]

    @abstractmethod
    def _init_arrays(
        self, path: Path, num_samples: int, fields: tuple[Field, ...]
    ) -> AbstractContextManager[Mapping[str, Any]]:
        """Make the file or files of one shard.

        Parameters
        ----------
        path : Path
            The shard's file; a format of several files derives their names from it.
        num_samples : int
            Length of the first axis of every array.
        fields : tuple of Field
            All fields, scalars too; each has a dtype and a shape.

        Returns
        -------
        context manager of a mapping of str to array
            Each takes and gives slices of its first axis.
        """


def _replace_by_shorter(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    for path in (folder / "shorter").iterdir():
        path.rename(folder / path.name)
    (folder / "shorter").rmdir()


class ConverterFlexibleSize(Converter):
    """A converter whose values may have any size; images keep their own bytes.

    Parameters
    ----------
    longer_side, shorter_side : int, optional
        Make images whose longer (or shorter) side has more pixels than this
        smaller, and encode them anew with `encoding` and `quality`. Masks take
        the nearest pixel and stay PNG.
    **options
        As `Converter`.
    """

    fixed_size = False

    def __init__(
        self,
        input_data: Any,
        output_path: str | Path,
        images_per_file: int = 1000,
        batch_size: int = 32,
        num_workers: int = 4,
        *,
        longer_side: int | None = None,
        shorter_side: int | None = None,
        **options: Any,
    ) -> None:
        self.shrink = Shrink(longer_side, shorter_side)
        super().__init__(input_data, output_path, images_per_file, batch_size, num_workers, **options)

    def _options(self) -> dict[str, Any]:
        sides = {"longer_side": self.shrink.longer_side, "shorter_side": self.shrink.shorter_side}
        return super()._options() | sides

    def _prepared(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not self.shrink:
            return batch
        how = {f.name: (f.kind == "mask", f.exif) for f in self.fields if f.is_image}
        return [{k: self.shrink(v, *how[k]) if k in how else v for k, v in sample.items()} for sample in batch]

    def _stored_field(self, field: Field, value: Any) -> Field:
        if field.is_image and isinstance(value, images.EncodedImage):
            images.probe(value.data)  # a bad first image is told before anything is written
        return field

    def _write_shard(self, path: Path, batches: Iterator[Batch], num_samples: int, fields: tuple[Field, ...]) -> None:
        with self._open_shard(path, fields) as shard:
            for batch in batches:
                self._write_data_to_disk(shard, batch)

    @abstractmethod
    def _open_shard(self, path: Path, fields: tuple[Field, ...]) -> AbstractContextManager[Any]:
        """Open one shard for writing; the end of the context finishes it."""

    @abstractmethod
    def _write_data_to_disk(self, shard: Any, batch: Batch) -> None:
        """Append a batch to what `_open_shard` gave."""
