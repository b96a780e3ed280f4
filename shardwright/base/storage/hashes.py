"""xxh3-64 of files and of parts of them."""

import hashlib
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.errors import StorageError

__all__ = ["hash_file", "hash_parts"]


def hash_file(path: Path) -> str:
    """Return the xxh3-64 of a file as 16 hex digits."""
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, xxhash.xxh3_64).hexdigest()
    except OSError as error:
        raise StorageError(f"{path}: {error}; check the disk and the permissions") from error


def hash_parts(
    data: memoryview, offsets: NDArray[np.int64], lengths: NDArray[np.int64], block: int = 2**18
) -> tuple[NDArray[np.uint64], str]:
    """Return the xxh3-64 of parts of a file, in the shape of `offsets`, and that of the whole as 16 hex digits.

    One pass serves both: the whole takes what was just hashed as a part from the processor's cache.
    """
    hashes, digest, done = np.empty(offsets.size, np.uint64), xxhash.xxh3_64(), 0
    starts, ends = offsets.ravel(), (offsets + lengths).ravel()
    order = np.argsort(starts, kind="stable")
    for place, start, end in zip(order.tolist(), starts[order].tolist(), ends[order].tolist(), strict=True):
        hashes[place] = xxhash.xxh3_64_intdigest(data[start:end])
        if end - done >= block:
            digest.update(data[done:end])
            done = end
    digest.update(data[done:])
    return hashes.reshape(offsets.shape), digest.hexdigest()
