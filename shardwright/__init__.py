"""Image datasets as a few well-made shards, and any sample of them back at once.

Each public name is loaded when it is first asked for: ``import shardwright`` alone
imports neither torch nor a library of a format.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardwright.arrays.source import ArraySource
    from shardwright.base.converter import ConverterFixedSize, ConverterFlexibleSize
    from shardwright.base.errors import (
        ConfigError,
        CorruptShardError,
        DistributedError,
        IncompleteDatasetError,
        InputError,
        LimitError,
        LockedError,
        OutputExistsError,
        PlanMismatchError,
        ShardwrightError,
        StorageError,
        UnsafeDataError,
        UnsupportedImageError,
    )
    from shardwright.base.export import export
    from shardwright.base.fields import Field
    from shardwright.base.file_source import FilesSource
    from shardwright.base.formats import Format, register
    from shardwright.base.images import EncodedImage, ResizeAndConvert, decode_pil
    from shardwright.base.index_files import index_files
    from shardwright.base.merge import merge
    from shardwright.base.open_source import open_source
    from shardwright.base.reader import Reader, open_reader
    from shardwright.base.source import Places, Source
    from shardwright.base.storage.ranges import Ranges
    from shardwright.base.values.columns import ByteColumn
    from shardwright.base.verify import verify
    from shardwright.base.views import concat
    from shardwright.folders.segmentation import ParallelFoldersSource
    from shardwright.folders.source import FolderSource
    from shardwright.hdf5.converter import HDF5Converter
    from shardwright.hdf5.reader import HDF5Reader
    from shardwright.memmap.converter import MemmapConverter
    from shardwright.memmap.reader import MemmapReader
    from shardwright.parquet.converter import ParquetConverter
    from shardwright.parquet.reader import ParquetReader
    from shardwright.pyarrow_ipc.converter import IpcConverter
    from shardwright.pyarrow_ipc.reader import IpcReader
    from shardwright.tar.converter import TarConverter
    from shardwright.tar.reader import TarReader
    from shardwright.tar.source import ArchiveSource
    from shardwright.tfrecord.source import TFRecordSource
    from shardwright.training.distributed import distributed
    from shardwright.training.loader import ThreadedLoader
    from shardwright.training.samplers import GlobalSampler
    from shardwright.training.transforms import EvalTransform, TrainTransform

__all__ = [
    "ArchiveSource",
    "ArraySource",
    "ByteColumn",
    "ConfigError",
    "ConverterFixedSize",
    "ConverterFlexibleSize",
    "CorruptShardError",
    "DistributedError",
    "EncodedImage",
    "EvalTransform",
    "Field",
    "FilesSource",
    "FolderSource",
    "Format",
    "GlobalSampler",
    "HDF5Converter",
    "HDF5Reader",
    "IncompleteDatasetError",
    "InputError",
    "IpcConverter",
    "IpcReader",
    "LimitError",
    "LockedError",
    "MemmapConverter",
    "MemmapReader",
    "OutputExistsError",
    "ParallelFoldersSource",
    "ParquetConverter",
    "ParquetReader",
    "Places",
    "PlanMismatchError",
    "Ranges",
    "Reader",
    "ResizeAndConvert",
    "ShardwrightError",
    "Source",
    "StorageError",
    "TFRecordSource",
    "TarConverter",
    "TarReader",
    "ThreadedLoader",
    "TrainTransform",
    "UnsafeDataError",
    "UnsupportedImageError",
    "concat",
    "decode_pil",
    "distributed",
    "export",
    "index_files",
    "merge",
    "open_reader",
    "open_source",
    "register",
    "verify",
]

# Where each name lives; the imports above say the same to editors and type checkers.
_HOMES = {
    "shardwright.arrays.source": "ArraySource",
    "shardwright.base.converter": "ConverterFixedSize ConverterFlexibleSize",
    "shardwright.base.errors": (
        "ConfigError CorruptShardError DistributedError IncompleteDatasetError "
        "InputError LimitError LockedError OutputExistsError "
        "PlanMismatchError ShardwrightError StorageError UnsafeDataError "
        "UnsupportedImageError"
    ),
    "shardwright.base.export": "export",
    "shardwright.base.fields": "Field",
    "shardwright.base.file_source": "FilesSource",
    "shardwright.base.formats": "Format register",
    "shardwright.base.images": "EncodedImage ResizeAndConvert decode_pil",
    "shardwright.base.index_files": "index_files",
    "shardwright.base.merge": "merge",
    "shardwright.base.open_source": "open_source",
    "shardwright.base.reader": "Reader open_reader",
    "shardwright.base.source": "Places Source",
    "shardwright.base.storage.ranges": "Ranges",
    "shardwright.base.values.columns": "ByteColumn",
    "shardwright.base.verify": "verify",
    "shardwright.base.views": "concat",
    "shardwright.folders.segmentation": "ParallelFoldersSource",
    "shardwright.folders.source": "FolderSource",
    "shardwright.hdf5.converter": "HDF5Converter",
    "shardwright.hdf5.reader": "HDF5Reader",
    "shardwright.memmap.converter": "MemmapConverter",
    "shardwright.memmap.reader": "MemmapReader",
    "shardwright.parquet.converter": "ParquetConverter",
    "shardwright.parquet.reader": "ParquetReader",
    "shardwright.pyarrow_ipc.converter": "IpcConverter",
    "shardwright.pyarrow_ipc.reader": "IpcReader",
    "shardwright.tar.converter": "TarConverter",
    "shardwright.tar.reader": "TarReader",
    "shardwright.tar.source": "ArchiveSource",
    "shardwright.tfrecord.source": "TFRecordSource",
    "shardwright.training.distributed": "distributed",
    "shardwright.training.loader": "ThreadedLoader",
    "shardwright.training.samplers": "GlobalSampler",
    "shardwright.training.transforms": "EvalTransform TrainTransform",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
