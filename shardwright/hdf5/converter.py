"""Write splits of HDF5 files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import h5py

from shardwright.base.arguments import check_choice
from shardwright.base.converter import ConverterFixedSize
from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.storage.atomic import WriteFile

__all__ = ["HDF5Converter"]

NAMES_PER_ATTRIBUTE = 4000  # an attribute ends at 64 KiB, and each name takes 16 bytes of it


class HDF5Converter(ConverterFixedSize):
    """Convert to HDF5 files with one root dataset per field; see `ConverterFixedSize`.

    Class names and the order of the axes are attributes of the datasets; more than
    4,000 names go on in the attributes ``class_names_1``, ``class_names_2``, ...

    Parameters
    ----------
    *arguments, **options
        As `ConverterFixedSize`.
    compression : {None, "gzip"}
        None stores images end to end, read as fast as ``.npy``; ``"gzip"``
        compresses each one as a chunk of its own.
    compression_level : int
        1 (fast) to 9 (small), of gzip.

    Examples
    --------
    >>> HDF5Converter("images", "out", compression="gzip").convert()  # doctest: +SKIP
    """

    format_name = "hdf5"

    def __init__(
        self, *arguments: Any, compression: Literal["gzip"] | None = None, compression_level: int = 4, **options: Any
    ) -> None:
        self.compression = check_choice("compression", compression, (None, "gzip"))
        if compression_level not in range(1, 10):
            raise ConfigError(f"compression_level={compression_level!r} must be a whole number from 1 to 9")
        self.compression_level = compression_level
        super().__init__(*arguments, **options)

    def _options(self) -> dict[str, Any]:
        level = self.compression_level if self.compression else None
        return super()._options() | {"compression": self.compression, "compression_level": level}

    def _stored_field(self, field: Field, value: Any) -> Field:
        stored = super()._stored_field(field, value)
        # Values without a byte have nothing to compress, and no chunk.
        return stored if stored.is_scalar or not stored.nbytes else replace(stored, compression=self.compression)

    @contextmanager
    def _init_arrays(self, path: Path, num_samples: int, fields: tuple[Field, ...]) -> Iterator[dict[str, Any]]:
        with _Disk(path) as disk, h5py.File(disk, "w", libver=("earliest", "v110")) as file:
            file.attrs["format_version"] = 1
            yield {f.name: self._create(file, num_samples, f) for f in fields}

    def _create(self, file: h5py.File, num_samples: int, field: Field) -> h5py.Dataset:
        shape = (num_samples, *(field.shape or ()))
        how: dict[str, Any] = {}
        if field.compression and num_samples:  # all of them may have been skipped
            how = {"chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": self.compression_level}
        dataset = file.create_dataset(field.name, shape, field.dtype, track_times=False, fill_time="never", **how)
        for start in range(0, len(field.names or ()), NAMES_PER_ATTRIBUTE):
            part = f"_{start // NAMES_PER_ATTRIBUTE}" if start else ""
            names = list(field.names or ())[start : start + NAMES_PER_ATTRIBUTE]
            dataset.attrs.create(f"class_names{part}", names, dtype=h5py.string_dtype())
        if field.is_image:
            dataset.attrs["layout"] = f"N{field.layout}"
            dataset.attrs["mode"] = field.mode or ""
        return dataset


class _Disk(WriteFile):
    """The file that HDF5 writes to, by way of Python.

    HDF5 ends the process, at its exit at the latest, when a write or the closing
    of a file has failed. So the first error of the file system is kept, HDF5 is
    told that all went well, and the error is raised once HDF5 is done; what could
    not be written is zeros to it. This also keeps HDF5's lock away, which forked
    workers would inherit and hold.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb+")
        self._error: OSError | None = None

    def __exit__(self, *error: object) -> None:
        self.close()
        if self._error is not None:
            raise self._error

    def write(self, data: Any, /) -> int:
        """Write all of `data`, unless an earlier write has failed."""
        try:
            if self._error is None:
                super().write(data)
        except OSError as error:
            self._error = error
        return len(data)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length of the file."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
        return size or 0
