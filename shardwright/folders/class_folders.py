"""The order of the images in class folders, and their class numbers: the same in a folder and in an archive."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.storage.names import printable

__all__ = ["FOLDER_NAMES", "by_class", "top_folder"]

FOLDER_NAMES = "folder names"  # where labels were found


def top_folder(path: bytes) -> bytes:
    """Return the first part of a path: its class folder."""
    return path.split(b"/", 1)[0]


def by_class(
    root: bytes, counts: Mapping[bytes, int], ignored: Counter[str]
) -> tuple[list[bytes], NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Return the folders in their order, the class number of every image in them, and the class names.

    Without class folders, the images of the root are in order, and have no number.

    Parameters
    ----------
    root : bytes
        What messages call the folder or archive.
    counts : mapping of bytes to int
        How many images lie in each folder, given by its path below the root, which is ``b""``.
    ignored : Counter
        Gets the images outside of class folders, and the empty classes.

    Raises
    ------
    InputError
        If two classes get one name, as those that are not UTF-8 may.
    """
    # By class first: sorted as text, "a-b" would stand between "a" and "a/b".
    folders = sorted(counts.keys() - {b""}, key=lambda path: (top_folder(path), path))
    classes = sorted(set(map(top_folder, folders)))
    if not classes:
        return [b""], None, None
    if counts.get(b""):
        ignored["image outside any class folder"] = counts[b""]
    for empty in set(classes).difference(top_folder(path) for path in folders if counts[path]):
        ignored[f"empty class folder: {printable(empty)}"] = 0
    number = {name: index for index, name in enumerate(classes)}
    labels = np.repeat([number[top_folder(path)] for path in folders], [counts[path] for path in folders])
    names = tuple(map(printable, classes))
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{printable(root)} has two class folders shown as {name}: rename one")
    return folders, labels, names
