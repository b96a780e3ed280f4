"""The table of formats: lazy, and open to plug-ins.

A format is one record with up to four doors: a converter writes it, a reader reads
what the converter wrote, a source reads anybody's files, and exports write the
layouts of other tools. What is behind a door is named, not imported, so that the
table costs nothing and a missing library matters only to who uses it. Other
distributions add records through the entry point group ``shardwright.formats``;
an entry point names a `Format`.
"""

import functools
import re
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any

from shardwright.base.errors import ConfigError

__all__ = ["Export", "Format", "export_targets", "format_names", "get_format", "register", "technologies"]


@dataclass(frozen=True, slots=True)
class Export:
    """One layout of another tool that a split can be written as.

    Parameters
    ----------
    name : str
        What users type, for example ``"webdataset"``.
    function : str
        ``"module:function"``, which gets the `Samples` and the path to write: of a file or a
        folder that does not exist yet, under a temporary name.
    summary : str
        One line for the help.
    """

    name: str
    function: str
    summary: str = ""


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
        ``"module:class"``. A converter needs a reader, which looks at every shard after it is written.
    summary : str
        One line for ``shardwright formats``.
    extra : str
        The extra of the distribution that installs its library, if it has one.
    source : str
        ``"module:class"`` of what reads such files by whoever wrote them, if anything does: a
        `Source` that is made of a path, or of the paths of several files.
    suffixes : tuple of str
        What names of such files end with, in lower case.
    pattern : str
        A regular expression for names that have no such end, in lower case.
    magic : bytes
        A regular expression for the first bytes of such files.
    takes_folder : bool
        Whether `source` takes a folder of such files itself, which says more than they do, and the
        split that is wanted, if there is one of that name.
    in_place : bool
        Whether `source` knows where the values of such files lie, so that `index_files` takes them.
    listed : str
        ``"module:class"`` of the source that a rank makes of rank 0's `Source.listing`, where a
        scan is worth sparing; by default each rank opens the input itself.
    exports : tuple of Export
        What else a split can be written as; of two of one name that of the later record counts.
    """

    name: str
    suffix: str = ""
    converter: str = ""
    reader: str = ""
    summary: str = ""
    extra: str = ""
    source: str = ""
    suffixes: tuple[str, ...] = ()
    pattern: str = ""
    magic: bytes = b""
    takes_folder: bool = False
    in_place: bool = False
    listed: str = ""
    exports: tuple[Export, ...] = ()

    def __post_init__(self) -> None:
        if self.converter and not self.reader:
            raise ConfigError(f"format {self.name!r} has a converter and no reader, which looks at what was written")

    def load_converter(self) -> Any:
        """Import and return the converter class."""
        return self._load("converter", self.converter)

    def load_reader(self) -> Any:
        """Import and return the reader class."""
        return self._load("reader", self.reader)

    def load_source(self) -> Any:
        """Import and return the class of source that reads such files, whoever wrote them."""
        return self._load("source", self.source)

    def load_listed(self) -> Any:
        """Import and return the class of source that is made of a listing."""
        return self._load("listing", self.listed)

    def load_export(self, target: str) -> Any:
        """Import and return the function that writes one of `exports`."""
        return self._load("export", self.export(target).function)

    def export(self, target: str) -> Export:
        """Return one of `exports` by name."""
        return next(export for export in self.exports if export.name == target)

    def is_named(self, name: str) -> bool:
        """Whether a file's name is that of a file which `source` reads."""
        name = name.lower()
        fits = name.endswith(self.suffixes) or (self.pattern and re.fullmatch(self.pattern, name))
        return bool(self.source and fits)

    def begins(self, head: bytes) -> bool:
        """Whether a file which begins so (512 bytes) is one that `source` reads."""
        return bool(self.source and self.magic and re.match(self.magic, head, re.DOTALL))

    def _load(self, door: str, target: str) -> Any:
        if not target:
            raise ConfigError(f"format {self.name!r} has no {door}; shardwright formats lists what each has")
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
    ),
    Format(
        "hdf5",
        ".h5",
        "shardwright.hdf5.converter:HDF5Converter",
        "shardwright.hdf5.reader:HDF5Reader",
        "HDF5 files: decoded pixels of one size, optionally gzip, opened by h5py and MATLAB",
        source="shardwright.hdf5.source:HDF5Source",
        suffixes=(".h5", ".hdf5", ".he5"),
        magic=rb"\x89HDF\r\n\x1a\n",
        in_place=True,
    ),
    Format(
        "parquet",
        ".parquet",
        "shardwright.parquet.converter:ParquetConverter",
        "shardwright.parquet.reader:ParquetReader",
        "Parquet files: original image bytes, opened by Hugging Face datasets, DuckDB, Polars",
        source="shardwright.parquet.source:ParquetSource",
        suffixes=(".parquet",),
        magic=rb"PAR1",
        in_place=True,
    ),
    Format(
        "pyarrow_ipc",
        ".arrow",
        "shardwright.pyarrow_ipc.converter:IpcConverter",
        "shardwright.pyarrow_ipc.reader:IpcReader",
        "Arrow IPC files: original image bytes, opened by pyarrow and Hugging Face datasets",
        source="shardwright.pyarrow_ipc.source:IpcSource",
        suffixes=(".arrow", ".ipc", ".feather", ".arrows"),
        magic=rb"ARROW1|\xff\xff\xff\xff.{3}\0",
        in_place=True,
    ),
    Format(
        "arrays",
        reader="shardwright.memmap.reader:MemmapReader",
        summary="NumPy .npy and .npz files, and IDX files as those of MNIST",
        source="shardwright.arrays.source:ArrayFiles",
        suffixes=(".npy", ".npz"),
        pattern=r".*idx\d[-.]ubyte(\.gz)?",
        magic=rb"\x93NUMPY|PK\x03\x04.{26}.{1,250}?\.npy|PK\x05\x06|\0\0[\x08\x09\x0b-\x0e][\x01-\x08]|\x1f\x8b\x08",
        in_place=True,
        exports=(
            Export(
                "npz",
                "shardwright.arrays.export:export_npz",
                "one .npz file with x and y arrays, for images of one size",
            ),
        ),
    ),
    Format(
        "tar",
        ".tar",
        "shardwright.tar.converter:TarConverter",
        "shardwright.tar.reader:TarReader",
        "tar files: original image bytes, opened by tar, webdataset, DALI; zip files are read, too",
        source="shardwright.tar.source:open_archive",
        # Compressed ones too, so that they get a helpful error.
        suffixes=(".tar", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"),
        magic=rb".{257}ustar|PK\x03\x04|PK\x05\x06|\x1f\x8b|BZh|\xfd7zXZ\0|\x28\xb5\x2f\xfd",
        listed="shardwright.tar.source:ArchiveSource",
        in_place=True,
        exports=(
            Export("webdataset", "shardwright.tar.export:export_webdataset", "tar files, which webdataset streams"),
        ),
    ),
    Format(
        "tfrecord",
        reader="shardwright.tfrecord.reader:TFRecordReader",
        summary="TFRecord files of tf.train.Example",
        extra="shardwright[tfrecord]",
        source="shardwright.tfrecord.source:open_tfrecord",
        suffixes=(".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz"),
        pattern=r".+\.tfrecords?(\.gz)?-\d{5,}-of-\d{5,}(\.gz)?|[^.]+-\d{5,}-of-\d{5,}(\.gz)?",
        takes_folder=True,
        in_place=True,
        exports=(
            Export("tfrecord", "shardwright.tfrecord.export:export_tfrecord", "TFRecord files of tf.train.Example"),
        ),
    ),
    Format(
        "folders",
        summary="folders of image files: a folder per class, or images without classes",
        source="shardwright.folders.source:open_folder",
        listed="shardwright.folders.source:FolderSource",
        exports=(
            Export(
                "folder",
                "shardwright.folders.export:export_folder",
                "a folder per class with the image files, as torchvision's ImageFolder and Keras read them",
            ),
        ),
    ),
    Format(
        "annotations",
        summary="labels beside images: csv, tsv, jsonl, COCO, YOLO, ImageNet's development kit",
        source="shardwright.annotations.source:open_annotated",
    ),
    Format(
        "torch_datasets",
        summary="any dataset with __len__ and __getitem__; torchvision's with the files' own bytes",
        source="shardwright.torch_datasets.source:open_dataset",
    ),
    Format(
        "splits",
        summary="converted splits of any format, their readers, selections and concatenations",
        source="shardwright.base.view_source:SplitSource",
    ),
)
_FORMATS = {record.name: record for record in _TABLE}
_OWN = frozenset(_FORMATS)


def register(record: Format) -> None:
    """Add a format to the table, or replace one that was added under this name.

    Raises
    ------
    ConfigError
        If the name is one of the library's own.
    """
    if record.name in _OWN:
        raise ConfigError(
            f"{record.name!r} is a format of this library, which is not replaced: give yours another name, and choose "
            "it with that"
        )
    _FORMATS[record.name] = record


def format_names() -> list[str]:
    """Return the names of all formats that can be written, those of plug-ins included, sorted."""
    return sorted(record.name for record in technologies() if record.converter)


def export_targets() -> dict[str, Format]:
    """Return what a split can be exported to, sorted by name, each with the record that offers it."""
    found = {export.name: record for record in technologies() for export in record.exports}
    return {name: found[name] for name in sorted(found)}


def technologies() -> list[Format]:
    """Return the records of all formats, those that are only read included, and those of plug-ins."""
    _load_plugins()
    return list(_FORMATS.values())


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


@functools.cache  # milliseconds, and a folder's files are asked for one by one
def _load_plugins() -> None:
    for point in entry_points(group="shardwright.formats"):
        if point.name not in _FORMATS:
            register(point.load())
