"""The list of an input's files, made by one process and read by the others.

A folder of a million images is scanned once, by rank 0, whatever the number of ranks: a
metadata server has to answer a million questions then, and not a million per rank. The
list is a zip file of packed arrays (`Source.listing`); an empty one says that the source
spares no scan, so that all ranks wait for a list or none, whatever the files hold.
"""

import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from shardwright.base.errors import DistributedError, ShardwrightError
from shardwright.base.formats import Format, get_format
from shardwright.base.inputs import find_input
from shardwright.base.open_source import Labels, is_split, open_source, with_labels
from shardwright.base.source import Source

__all__ = ["is_listed", "open_unless_listed", "read_listing", "write_listing"]


def is_listed(input_data: Any, split: str | None = None) -> bool:
    """Whether rank 0 lists an input for the others, told by the path alone: all ranks must say the same."""
    return _listed_input(input_data, split) is not None


def _listed_input(input_data: Any, split: str | None) -> tuple[Format, Path] | None:
    """Return the format that lists an input, and the one folder or file that is listed."""
    if not isinstance(input_data, (str, os.PathLike)):
        return None
    path = Path(os.path.expanduser(os.fsdecode(input_data)))
    if not path.exists() or is_split(str(path)):
        return None
    found = find_input(path, split)
    record = found.record or get_format("folders")
    return (record, found.files[0] if len(found.files) == 1 else path) if record.listed else None


def open_unless_listed(input_data: Any, split: str | None = None, labels: Labels = None) -> Source | None:
    """Return the source of an input, or ``None`` if another process's list is to be waited for."""
    return None if is_listed(input_data, split) else open_source(input_data, split, labels=labels)


def write_listing(source: Source, file: IO[bytes]) -> None:
    """Write what `read_listing` makes the same source of, without a copy of it in memory."""
    arrays: dict[str, Any] = dict(source.listing() or {})
    np.savez(file, **arrays)


def read_listing(path: Path, input_data: Any, split: str | None = None, labels: Labels = None) -> Source:
    """Return the source that `write_listing` was given, for the same input as this process sees it."""
    listed = _listed_input(input_data, split)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if listed is not None and arrays.files:
                record, where = listed
                source: Source = record.load_listed().from_listing(where, arrays)
                return with_labels(source, where, split, labels)
    except ShardwrightError:
        raise
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DistributedError(f"{path}, rank 0's list of the input, is damaged ({error}); run it again") from error
    return open_source(input_data, split, labels=labels)
