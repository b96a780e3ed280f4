"""Read splits of ``.npy`` files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shardwright.base.fields import Field
from shardwright.base.reader import Reader
from shardwright.base.storage.ranges import Ranges

__all__ = ["MemmapReader", "field_path"]


def field_path(path: Path, field: Field) -> Path:
    """Return the file of one field of the shard `path`."""
    return path.with_name(f"{path.name.removesuffix('.npy')}.{field.name}.npy")


class MemmapReader(Reader):
    """A split of ``.npy`` files, one per field and shard; see `Reader`.

    Examples
    --------
    >>> reader = MemmapReader("out", output="tensor")  # doctest: +SKIP
    >>> image, label = reader[0]  # doctest: +SKIP
    """

    format_name = "memmap"

    @staticmethod
    def _read_scalars(path: Path, fields: tuple[Field, ...]) -> Mapping[str, np.ndarray]:
        return {f.name: np.load(field_path(path, f), mmap_mode="r") for f in fields if f.is_scalar}

    @staticmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        located = {}
        for field in fields:
            if not field.is_scalar:
                file = field_path(path, field)
                array = np.lib.format.open_memmap(file, mode="r")
                located[field.name] = Ranges.fixed(file, array.offset, len(array), field.nbytes)
        return located
