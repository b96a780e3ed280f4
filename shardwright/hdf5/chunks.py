"""Whether the chunks of an HDF5 dataset inflate to what they should: HDF5 itself inflates whatever they hold."""

import math
import zlib
from collections.abc import Iterable
from typing import Any

__all__ = ["GZIP", "MOST_INFLATION", "chunk_bytes", "filters_of", "inflate_as_said"]

GZIP = 1
MOST_INFLATION = 1032  # times: no zlib stream inflates to more
_CHECKSUM = 4  # bytes that the filter fletcher32 adds


def filters_of(dataset: Any) -> list[int]:
    """Return the numbers of an HDF5 dataset's filters, in the order in which they were applied."""
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
