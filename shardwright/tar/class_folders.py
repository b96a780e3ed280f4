"""The images of an archive, in the order of the unpacked folder and with its classes."""

import os
from array import array
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.images.probe import has_image_name, is_image_start
from shardwright.base.storage.names import is_of_system, printable
from shardwright.folders.class_folders import by_class, top_folder
from shardwright.tar.members import Members

__all__ = ["ArchiveFolder", "is_left_out"]


def _not_an_image(path: bytes) -> str:
    """Return what to count a member as that is no image: by its name, if it could hold the labels."""
    name = printable(path.rpartition(b"/")[2])
    if not name.lower().endswith((".csv", ".tsv", ".jsonl", ".json")) or path.count(b"/") > 1:
        return "not an image"
    return f"{name} in the archive, not used: unpack it and pass labels={name!r}"


def is_left_out(part: bytes) -> bool:
    """Whether a part of a path is hidden, or a system's folder."""
    return (part.startswith(b".") and part != b".") or is_of_system(part)


class ArchiveFolder:
    """An archive as the folder that it would be if it were unpacked.

    Parameters
    ----------
    members : Members
        Those without an image's name are looked into.
    classes : mapping of str to str, optional
        File name to class, for an archive without class folders: files are listed
        as if they lay in folders of these names.
    flat : bool
        Folders are no classes.
    within : bytes
        Take only what lies in this folder, as if that were the archive.
    """

    def __init__(
        self,
        members: Members,
        classes: Mapping[str, str] | None = None,
        within: bytes = b"",
        flat: bool = False,
    ) -> None:
        self._members, self._classes, self._flat = members, classes, flat
        self._within = within + b"/" if within else b""
        # Folder to the rows in it.
        self._folders = {name.encode(): array("q") for name in (classes or {}).values()}
        self._hidden: set[bytes] = set()
        self.ignored: Counter[str] = Counter(members.odd)
        for folder in members.folders:
            if folder.startswith(self._within):
                self._add_folder(folder[len(self._within) :])
        for row in range(len(members)):
            if not within or members.name(row).startswith(self._within):
                self._add(row)

    def summary(self) -> str:
        """Return what was left out."""
        return "; ".join(f"{reason}: {count}" for reason, count in sorted(self.ignored.items()))

    def _add_folder(self, path: bytes) -> None:
        """Note a folder, which may stay empty."""
        if path != b"." and not self._is_hidden(path) and self._classes is None:
            self._folders.setdefault(path, array("q"))

    def _add(self, row: int) -> None:
        """Note a file, if it is an image."""
        path = self._members.name(row)[len(self._within) :]
        if self._is_hidden(path):
            return
        if not (has_image_name(path) or is_image_start(self._members.start(row))):
            self.ignored[_not_an_image(path)] += 1
            return
        self._folders.setdefault(self._folder_of(path), array("q")).append(row)

    def _folder_of(self, path: bytes) -> bytes:
        folder, _, name = path.rpartition(b"/")
        if self._classes is None:
            return folder
        if printable(name) not in self._classes:
            raise InputError(f"{self._members.path}: classes= names no class for {printable(name)}")
        return self._classes[printable(name)].encode()

    def _is_hidden(self, path: bytes) -> bool:
        """Whether a part of the path begins with a dot, or is a system's folder; each is counted once."""
        parts = path.split(b"/")
        depth = next((i for i, part in enumerate(parts) if is_left_out(part)), None)
        if depth is None:
            return False
        hidden = b"/".join(parts[: depth + 1])
        if hidden not in self._hidden:
            dotted = parts[depth].startswith(b".")
            self.ignored["hidden" if dotted else f"left by a system: {printable(parts[depth])}"] += 1
            self._hidden.add(hidden)
        return True

    def path(self, row: int) -> bytes:
        """Return the path of a row below its root, as the unpacked folder has it."""
        path = self._members.name(row)[len(self._within) :]
        if self._classes is None:
            return path[self._cut :]
        return self._folder_of(path) + b"/" + path.rpartition(b"/")[2]

    @cached_property
    def _cut(self) -> int:
        """The length of the one folder, with its slash, around all class folders; mostly there is none."""
        tops = {top_folder(folder) for folder in self._folders if folder}
        direct = {folder for folder, rows in self._folders.items() if len(rows) and b"/" not in folder}
        if len(tops) != 1 or self._flat:
            return 0
        inner = [len(rows) for folder, rows in self._folders.items() if b"/" in folder]
        if direct:  # a few stray pictures beside class folders, or a class of pictures, some in folders of their own?
            filled = [count for count in inner if count]
            strays = sum(len(self._folders[folder]) for folder in direct)
            inner = filled if len(filled) > 1 and strays < sum(filled) else []
        return len(next(iter(tops))) + 1 if inner else 0

    def outer(self) -> bytes:
        """Return the one folder around all class folders, if there is one."""
        return self._within + next((top_folder(folder) for folder in self._folders if folder and self._cut), b"")

    def in_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, tuple[str, ...] | None]:
        """Return the rows as a folder's files are ordered, their class numbers, and the class names."""
        folders = {folder[self._cut :]: self._sorted(rows) for folder, rows in self._folders.items()}
        counts = {folder: len(rows) for folder, rows in folders.items()}
        ignored = self.ignored if self._classes is None else Counter()
        none = np.zeros(0, np.int64)
        if self._flat:
            return np.concatenate([none, *(folders[folder] for folder in sorted(folders))]), None, None
        order, labels, names = by_class(os.fsencode(self._members.path), counts, ignored)
        return np.concatenate([folders.get(folder, none) for folder in order]), labels, names

    def _sorted(self, rows: "array[int]") -> NDArray[np.int64]:
        """Return the rows of one folder by name; of members of the same name the last, as unpacking does."""
        ordered = sorted(rows, key=lambda row: (self._members.name(row), row))
        keep = [a for a, b in pairwise(ordered) if self._members.name(a) != self._members.name(b)]
        return np.array(keep + ordered[-1:], np.int64)
