"""Which row of a table is about which image: told by the path, else by the name of the file, or its stem."""

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError

__all__ = ["match_rows"]


def _path(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))


def _base(name: str) -> str:
    return posixpath.basename(_path(name))


def _stem(name: str) -> str:
    return _base(name).partition(".")[0] if not _base(name).startswith(".") else _base(name)


_WAYS: tuple[Callable[[str], str], ...] = (_path, _base, _stem)


def match_rows(images: Sequence[str], rows: Sequence[str], where: str) -> NDArray[np.int64]:
    """Return the number of the row about each image, -1 where there is none.

    Parameters
    ----------
    images : sequence of str
        Paths below the root.
    rows : sequence of str
        What the table says of the file, in each of its rows.
    where : str
        What messages call the table.

    Raises
    ------
    InputError
        If no row is about an image, if two are about one, or if one could be about several.
    """
    found = [_found(way, images, rows) for way in _WAYS]
    best = max(range(len(_WAYS)), key=lambda way: ((found[way] >= 0).sum(), -way))
    if (found[best] >= 0).any():
        keys, names = [_WAYS[best](row) for row in rows], [_WAYS[best](image) for image in images]
        _refuse_twice(Counter(keys), set(names), f"{where} has two rows about")
        _refuse_twice(Counter(names), set(keys), f"{where} names files without their folders, and two are called")
        return found[best]
    raise InputError(
        f"{where} is about none of the images: its rows name {', '.join(map(repr, rows[:3]))}, the images are "
        f"{', '.join(map(repr, images[:3]))}; give the table of these images, or name its column of files"
    )


def _found(way: Callable[[str], str], images: Sequence[str], rows: Sequence[str]) -> NDArray[np.int64]:
    numbers = {way(row): number for number, row in enumerate(rows)}
    return np.array([numbers.get(way(image), -1) for image in images], np.int64)


def _refuse_twice(counts: "Counter[str]", among: set[str], told: str) -> None:
    twice = next((name for name, count in counts.items() if count > 1 and name in among), None)
    if twice is not None:
        raise InputError(f"{told} {twice}: keep one")
