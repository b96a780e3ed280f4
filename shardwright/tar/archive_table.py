"""The table of contents of an archive: packed, and put into the order of a folder."""

import os
import zlib
from array import array
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.images.probe import has_image_name, is_image_start
from shardwright.base.storage.names import printable
from shardwright.folders.class_folders import by_class, top_folder

__all__ = ["ArchiveTable"]


class ArchiveTable:
    """The images of an archive, without one Python object for each.

    Parameters
    ----------
    path : Path
        The archive; its members without an image's name are looked into.
    classes : mapping of str to str, optional
        File name to class, for an archive without class folders: files are listed
        as if they lay in folders of these names.
    """

    def __init__(self, path: Path, classes: Mapping[str, str] | None) -> None:
        self.archive, self._classes = path, classes
        self._names, self._ends = bytearray(), array("q", [0])
        self._places = array("q")  # of each row: what `add` takes
        # Folder to the rows in it.
        self._folders = {name.encode(): array("q") for name in (classes or {}).values()}
        self._hidden: set[bytes] = set()
        self.ignored: Counter[str] = Counter()

    def columns(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return offset, stored bytes, size, whether it is deflated, and CRC-32 of some rows: five arrays in one."""
        return np.ascontiguousarray(np.frombuffer(self._places, np.int64).reshape(-1, 5)[rows].T)

    def summary(self) -> str:
        """Return what was left out."""
        return "; ".join(f"{reason}: {count}" for reason, count in sorted(self.ignored.items()))

    def add_folder(self, path: bytes) -> None:
        """Note a folder, which may stay empty."""
        if path != b"." and not self._is_hidden(path) and self._classes is None:
            self._folders.setdefault(path, array("q"))

    def add(self, path: bytes, offset: int, stored: int, size: int, deflated: bool = False, crc: int = -1) -> None:
        """Note a file, if it is an image; with -1 its CRC-32 is unknown."""
        if self._is_hidden(path):
            return
        if not (has_image_name(path) or is_image_start(self._start(offset, stored, deflated))):
            self.ignored["not an image"] += 1
            return
        self._folders.setdefault(self._folder_of(path), array("q")).append(len(self._ends) - 1)
        self._names += path
        self._ends.append(len(self._names))
        self._places.extend((offset, stored, size, deflated, crc))

    def _folder_of(self, path: bytes) -> bytes:
        folder, _, name = path.rpartition(b"/")
        if self._classes is None:
            return folder
        if printable(name) not in self._classes:
            raise InputError(f"{self.archive}: classes= names no class for {printable(name)}")
        return self._classes[printable(name)].encode()

    def _start(self, offset: int, stored: int, deflated: bool) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(offset)
            head = file.read(min(stored, 512))
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, 16) if deflated else head[:16]

    def _is_hidden(self, path: bytes) -> bool:
        """Whether a part of the path begins with a dot; each such file or folder is counted once."""
        parts = path.split(b"/")
        depth = next((i for i, part in enumerate(parts) if part.startswith(b".") and part != b"."), None)
        if depth is None:
            return False
        hidden = b"/".join(parts[: depth + 1])
        self.ignored["hidden"] += hidden not in self._hidden
        self._hidden.add(hidden)
        return True

    def path(self, row: int) -> bytes:
        """Return the path of a row below its root, as the unpacked folder has it."""
        path = self._raw(row)
        if self._classes is None:
            return path[self._cut :]
        return self._folder_of(path) + b"/" + path.rpartition(b"/")[2]

    def _raw(self, row: int) -> bytes:
        return bytes(self._names[self._ends[row] : self._ends[row + 1]])

    @cached_property
    def _cut(self) -> int:
        """The length of the one folder, with its slash, around all class folders; mostly there is none."""
        tops = {top_folder(folder) for folder in self._folders if folder}
        direct = {folder for folder, rows in self._folders.items() if len(rows) and b"/" not in folder}
        inner = any(b"/" in folder for folder in self._folders)
        return len(next(iter(tops))) + 1 if len(tops) == 1 and not direct and inner else 0

    def in_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, tuple[str, ...] | None]:
        """Return the rows as a folder's files are ordered, their class numbers, and the class names."""
        folders = {folder[self._cut :]: self._sorted(rows) for folder, rows in self._folders.items()}
        counts = {folder: len(rows) for folder, rows in folders.items()}
        ignored = self.ignored if self._classes is None else Counter()
        order, labels, names = by_class(os.fsencode(self.archive), counts, ignored)
        none = np.zeros(0, np.int64)
        return np.concatenate([folders.get(folder, none) for folder in order]), labels, names

    def _sorted(self, rows: "array[int]") -> NDArray[np.int64]:
        """Return the rows of one folder by name; of members of the same name the last, as unpacking does."""
        ordered = sorted(rows, key=lambda row: (self._raw(row), row))
        keep = [a for a, b in pairwise(ordered) if self._raw(a) != self._raw(b)]
        return np.array(keep + ordered[-1:], np.int64)
