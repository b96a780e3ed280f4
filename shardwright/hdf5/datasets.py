"""Datasets of HDF5 files: whether they lie in the file itself, and whether their chunks inflate to what they should.

HDF5 can fetch values from other files of the host and run plug-ins, and inflates whatever a chunk
holds. No h5py is imported here: readers on the ordinary path do without.
"""

import math
import zlib
from collections.abc import Iterable
from typing import Any

from shardwright.base.errors import UnsafeDataError

__all__ = ["GZIP", "MOST_INFLATION", "check_inside", "chunk_bytes", "filters_of", "inflate_as_said", "is_link"]

GZIP = 1
MOST_INFLATION = 1032  # times: no zlib stream inflates to more
_CHECKSUM = 4  # bytes that the filter fletcher32 adds


def is_link(group: Any, name: str) -> bool:
    """Whether a name stands for something elsewhere, which could be any other file of this host."""
    return type(group.get(name, getlink=True)).__name__ != "HardLink"


def check_inside(dataset: Any, name: str) -> None:
    """Raise `UnsafeDataError` if the values of a dataset lie in other files."""
    if dataset.external or dataset.is_virtual:
        raise UnsafeDataError(f"{name} takes its values from other files: copy it into one file with h5repack or h5py")


def filters_of(dataset: Any) -> list[int]:
    """Return the numbers of a dataset's filters, in the order in which they were applied."""
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]


def chunk_bytes(dataset: Any) -> int:
    """Return the bytes of a chunk that is not compressed."""
    return int(math.prod(dataset.chunks)) * int(dataset.dtype.itemsize)


def inflate_as_said(dataset: Any, places: Iterable[tuple[int, ...]]) -> bool:
    """Whether none of the gzip chunks that begin at `places` inflates to more than it should."""
    most = chunk_bytes(dataset) + _CHECKSUM
    return all(_inflates_to(dataset, place, most) for place in places)


def _inflates_to(dataset: Any, place: tuple[int, ...], most: int) -> bool:
    _, stored = dataset.id.read_direct_chunk(place)
    try:
        return len(zlib.decompressobj().decompress(stored, most + 1)) <= most
    except zlib.error:
        return True  # stored as it is, or damaged: HDF5 says which
