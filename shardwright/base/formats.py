"""The table of formats: lazy, and open to plug-ins.

A format is one record. Its classes are named, not imported, so that the table
costs nothing and a missing library matters only to who uses it. Other
distributions add records through the entry point group ``shardwright.formats``;
an entry point names a `Format`.
"""

import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any

from shardwright.base.errors import ConfigError

__all__ = ["Format", "format_names", "get_format", "register"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Parameters
    ----------
    name : str
        What users type, for example ``"parquet"``.
    suffix : str
        Of its shards, for example ``".parquet"``.
    converter, reader : str
        ``"module:class"``.
    summary : str
        One line for ``shardwright formats``.
    extra : str
        The extra of the distribution that installs its library, if it has one.
    adopter : str
        ``"module:function"`` that finds the samples in a file which this library did
        not write (see `shardwright.base.index_files`), if the format has one.
    adopts : tuple of str
        Further suffixes of such files.
    """

    name: str
    suffix: str
    converter: str
    reader: str
    summary: str = ""
    extra: str = ""
    adopter: str = ""
    adopts: tuple[str, ...] = ()

    def load_converter(self) -> Any:
        """Import and return the converter class."""
        return self._load(self.converter)

    def load_reader(self) -> Any:
        """Import and return the reader class."""
        return self._load(self.reader)

    def load_adopter(self) -> Any:
        """Import and return the function that reads a file which was there before."""
        if not self.adopter:
            raise ConfigError(f"format {self.name!r} does not read files that were not written by this library")
        return self._load(self.adopter)

    def _load(self, target: str) -> Any:
        module, _, name = target.partition(":")
        # A module that converts while it is being imported would wait for itself: the last steps run in a thread.
        loaded = getattr(sys.modules.get(module), name, None)
        if loaded is not None:
            return loaded
        try:
            return resolve_name(target)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"format {self.name!r} needs {error.name}, which is not installed: "
                f"pip install {self.extra or error.name}"
            ) from error


_TABLE = (
    Format(
        "memmap",
        ".npy",
        "shardwright.memmap.converter:MemmapConverter",
        "shardwright.memmap.reader:MemmapReader",
        "NumPy .npy files, one per field: decoded pixels of one size, opened by np.load",
        adopter="shardwright.memmap.adopt:adopt_npy",
    ),
    Format(
        "hdf5",
        ".h5",
        "shardwright.hdf5.converter:HDF5Converter",
        "shardwright.hdf5.reader:HDF5Reader",
        "HDF5 files: decoded pixels of one size, optionally gzip, opened by h5py and MATLAB",
        adopter="shardwright.hdf5.adopt:adopt_hdf5",
        adopts=(".hdf5", ".he5"),
    ),
    Format(
        "parquet",
        ".parquet",
        "shardwright.parquet.converter:ParquetConverter",
        "shardwright.parquet.reader:ParquetReader",
        "Parquet files: original image bytes, opened by Hugging Face datasets, DuckDB, Polars",
        adopter="shardwright.parquet.adopt:adopt_parquet",
    ),
    Format(
        "pyarrow_ipc",
        ".arrow",
        "shardwright.pyarrow_ipc.converter:IpcConverter",
        "shardwright.pyarrow_ipc.reader:IpcReader",
        "Arrow IPC files: original image bytes, opened by pyarrow and Hugging Face datasets",
        adopter="shardwright.pyarrow_ipc.adopt:adopt_ipc",
        adopts=(".ipc", ".feather", ".arrows"),
    ),
    Format(
        "tar",
        ".tar",
        "shardwright.tar.converter:TarConverter",
        "shardwright.tar.reader:TarReader",
        "tar files: original image bytes, opened by tar, webdataset, DALI",
        adopter="shardwright.tar.adopt:adopt_tar",
    ),
)
_FORMATS = {record.name: record for record in _TABLE}


def register(record: Format) -> None:
    """Add a format to the table, or replace the one of the same name."""
    _FORMATS[record.name] = record


def format_names() -> list[str]:
    """Return the names of all formats, those of plug-ins included, sorted."""
    _load_plugins()
    return sorted(_FORMATS)


def get_format(name: str) -> Format:
    """Return a format by name.

    Raises
    ------
    ConfigError
        If there is none; the message lists those there are.
    """
    if name not in _FORMATS:
        _load_plugins()
    if name not in _FORMATS:
        raise ConfigError(f"unknown format {name!r}; the formats are {', '.join(format_names())}")
    return _FORMATS[name]


def _load_plugins() -> None:
    for point in entry_points(group="shardwright.formats"):
        if point.name not in _FORMATS:
            register(point.load())
