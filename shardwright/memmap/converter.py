"""Write splits of ``.npy`` files."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from shardwright.base.converter import ConverterFixedSize
from shardwright.base.fields import Field
from shardwright.base.storage.npy import npy_header
from shardwright.memmap.file_array import FileArray
from shardwright.memmap.reader import field_path

__all__ = ["MemmapConverter"]


class MemmapConverter(ConverterFixedSize):
    """Convert to ``.npy`` files, one per field and shard; see `ConverterFixedSize`.

    Every file opens with ``np.load(path, mmap_mode="r")``: images as
    (N, H, W, C) uint8, or (N, C, H, W) with ``layout="NCHW"``; labels as (N,) int64.

    Examples
    --------
    >>> MemmapConverter("images", "out", shape=(224, 224)).convert()  # doctest: +SKIP
    """

    format_name = "memmap"

    @contextmanager
    def _init_arrays(self, path: Path, num_samples: int, fields: tuple[Field, ...]) -> Iterator[dict[str, FileArray]]:
        with ExitStack() as stack:
            yield {f.name: stack.enter_context(closing(_create(path, num_samples, f))) for f in fields}


def _create(path: Path, num_samples: int, field: Field) -> FileArray:
    shape = (num_samples, *(field.shape or ()))
    header = npy_header(str(field.dtype), shape)
    file = field_path(path, field)
    file.write_bytes(header)
    return FileArray(file, str(field.dtype), shape, len(header))
