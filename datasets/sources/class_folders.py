"""The order of the images in class folders, and their class numbers: the same in a folder and in an archive."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from datasets.sources.files import printable

__all__ = ["by_class", "top_folder"]


def top_folder(path: bytes) -> bytes:
    """Return the first part of a path: its class folder."""
    return path.split(b"/", 1)[0]


def by_class(counts: Mapping[bytes, int], ignored: Counter[str]) -> tuple[list[bytes], NDArray[np.int64], list[bytes]]:
    """Return the folders in their order, the class number of every image in them, and the class folders.

    Without class folders, the images of the root are in order, and have no number.

    Parameters
    ----------
    counts : mapping of bytes to int
        How many images lie in each folder, given by its path below the root, which is ``b""``.
    ignored : Counter
        Gets the images outside of class folders, and the empty classes.
    """
    # By class first: sorted as text, "a-b" would stand between "a" and "a/b".
    folders = sorted(counts.keys() - {b""}, key=lambda path: (top_folder(path), path))
    classes = sorted(set(map(top_folder, folders)))
    if not classes:
        return [b""], np.zeros(0, np.int64), []
    if counts.get(b""):
        ignored["image outside any class folder"] = counts[b""]
    for name in set(classes).difference(top_folder(path) for path in folders if counts[path]):
        ignored[f"empty class folder: {printable(name)}"] = 0
    number = {name: index for index, name in enumerate(classes)}
    labels = np.repeat([number[top_folder(path)] for path in folders], [counts[path] for path in folders])
    return folders, labels, classes
