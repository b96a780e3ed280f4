"""The list of input files, made by one process and read by the others.

A folder of a million images is scanned once, by rank 0, whatever the number of ranks: a
metadata server has to answer a million questions then, and not a million per rank. The
list is a zip file of packed arrays: 24 bytes per file (48 for an archive) and its name.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import DistributedError
from shardwright.base.inputs import find_input
from shardwright.base.open_source import is_split, open_source
from shardwright.base.source import Source
from shardwright.base.storage.files import FileCache
from shardwright.folders.files import FileSource, PackedNames
from shardwright.folders.source import FolderSource
from shardwright.tar.source import ArchiveSource

__all__ = ["has_listing", "open_unless_listed", "read_listing", "write_listing"]

_ARCHIVE = ("_offsets", "_stored", "_deflated", "_crcs")


def open_unless_listed(input_data: Any) -> Source | None:
    """Return the source of an input, or ``None`` if it takes a scan that another process's listing spares."""
    if not isinstance(input_data, (str, os.PathLike)):
        return open_source(input_data)
    path = os.path.expanduser(os.fsdecode(input_data))
    if is_split(path) or find_input(Path(path)).record is not None or not os.path.isdir(path):
        return open_source(input_data)
    return None


def has_listing(source: Source) -> bool:
    """Whether `write_listing` takes a source: those that scan files do."""
    return type(source) in (FolderSource, ArchiveSource)


def write_listing(source: Source, file: IO[bytes]) -> None:
    """Write what `read_listing` makes the same source of, without a copy of it in memory."""
    if not isinstance(source, FolderSource | ArchiveSource):
        raise TypeError(f"{type(source).__name__} scans no files")
    about = json.dumps({"classes": source._classes, "state": source.state(), "ignored": dict(source.ignored)})
    texts = {"about": about.encode(), "names": source._paths.blob}
    arrays: dict[str, Any] = {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
    arrays |= {"ends": source._paths.ends, "sizes": source._sizes}
    if source._labels is not None:
        arrays["labels"] = source._labels
    if isinstance(source, ArchiveSource):
        arrays |= {name: getattr(source, name) for name in _ARCHIVE}
    np.savez(file, **arrays)


def read_listing(path: Path, input_data: str | os.PathLike[str]) -> Source:
    """Return the source that `write_listing` was given, for the same input as this process sees it."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _restored(arrays, input_data)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DistributedError(f"{path}, rank 0's list of the input, is damaged ({error}); run it again") from error


def _restored(arrays: Mapping[str, NDArray[Any]], input_data: str | os.PathLike[str]) -> Source:
    about = json.loads(arrays["about"].tobytes())
    paths = PackedNames()
    paths.blob, paths.ends = arrays["names"].tobytes(), arrays["ends"]
    source: FolderSource | ArchiveSource
    if "_offsets" in arrays:
        source = object.__new__(ArchiveSource)
        source._archive, source._files = Path(input_data).expanduser().absolute(), FileCache(1)
        source._offsets, source._stored, source._deflated, source._crcs = (arrays[name] for name in _ARCHIVE)
        source._archive_size = source._archive.stat().st_size
    else:
        source = object.__new__(FolderSource)
        source._prefix = os.path.join(os.path.abspath(os.path.expanduser(os.fsencode(input_data))), b"")
    FileSource.__init__(source, paths, arrays["sizes"], labels=arrays.get("labels"), classes=about["classes"])
    source._state, source.ignored = about["state"], about["ignored"]
    return source
