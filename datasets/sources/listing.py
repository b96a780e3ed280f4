"""The list of input files, made by one process and read by the others.

A folder of a million images is scanned once, by rank 0, whatever the number of ranks: a
metadata server has to answer a million questions then, and not a million per rank. The
list is an ``.npz`` file of packed arrays, 24 to 60 bytes per file and the file's name.
"""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.base.errors import DistributedError
from datasets.base.storage import FileCache
from datasets.sources import open_source
from datasets.sources.detect import source_of_path
from datasets.sources.files import FileSource, PackedNames
from datasets.sources.folder import FolderSource
from datasets.sources.source import Source

__all__ = ["from_listing", "open_unless_listed", "to_listing"]

_ARCHIVE = ("_offsets", "_stored", "_deflated")


def open_unless_listed(input_data: Any) -> Source | None:
    """Return the source of an input, or ``None`` if it takes a scan that another process's listing spares."""
    from datasets.sources.archive import is_archive  # with tarfile, which readers do not need

    if not isinstance(input_data, (str, os.PathLike)):
        return open_source(input_data)
    path = os.path.expanduser(os.fsdecode(input_data))
    if is_archive(path):
        return None
    if not os.path.isdir(path) or any(Path(path).glob("metadata/*.json")):
        return open_source(input_data)
    return source_of_path(path)


def to_listing(source: Source) -> bytes | None:
    """Return what `from_listing` makes the same source of; ``None`` for sources that scan no files."""
    from datasets.sources.archive import ArchiveSource

    if type(source) not in (FolderSource, ArchiveSource) or not isinstance(source, FileSource):
        return None
    about = {"classes": source._classes, "state": source.state(), "ignored": dict(source.ignored)}
    arrays: dict[str, NDArray[Any]] = {
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        "names": np.frombuffer(source._paths.blob, np.uint8),
        "ends": source._paths.ends,
        "sizes": source._sizes,
    }
    if source._labels is not None:
        arrays["labels"] = source._labels
    if isinstance(source, ArchiveSource):
        arrays |= {name: getattr(source, name) for name in _ARCHIVE}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def from_listing(listing: bytes, input_data: str | os.PathLike[str]) -> Source:
    """Return the source that `to_listing` was given, for the same input as this process sees it.

    Raises
    ------
    DistributedError
        If the listing is damaged.
    """
    try:
        with np.load(io.BytesIO(listing), allow_pickle=False) as arrays:
            return _restored(dict(arrays), input_data)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DistributedError(f"the list of input files of rank 0 is damaged ({error}); run it again") from error


def _restored(arrays: dict[str, NDArray[Any]], input_data: str | os.PathLike[str]) -> Source:
    from datasets.sources.archive import ArchiveSource

    about = json.loads(arrays["about"].tobytes())
    paths = PackedNames()
    paths.blob, paths.ends = arrays["names"].tobytes(), arrays["ends"]
    source: FolderSource | ArchiveSource
    if "_offsets" in arrays:
        source = object.__new__(ArchiveSource)
        source._archive, source._files = Path(input_data).expanduser().absolute(), FileCache(1)
        source._offsets, source._stored, source._deflated = (arrays[name] for name in _ARCHIVE)
        source._archive_size = source._archive.stat().st_size
    else:
        source = object.__new__(FolderSource)
        source._prefix = os.path.join(os.path.abspath(os.path.expanduser(os.fsencode(input_data))), b"")
    FileSource.__init__(source, paths, arrays["sizes"], labels=arrays.get("labels"), classes=about["classes"])
    source._state, source.ignored = about["state"], about["ignored"]
    return source
