"""Folders of image files: one folder per class, or all images in one folder.

The whole tree is looked at before anything is read, so that what cannot be
converted is told at once. Paths are bytes throughout: names that are not UTF-8
work, and order and class numbers do not depend on the locale. What is shown or
published of a name is always valid UTF-8 (`printable`).
"""

import heapq
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.images.probe import IMAGE_EXTENSIONS, has_image_name, is_image_start
from shardwright.base.source import Source
from shardwright.base.storage.names import checked_status, is_of_system, printable, read_start, unreadable
from shardwright.folders.class_folders import FOLDER_NAMES, by_class
from shardwright.folders.exported import ExportedFolder, is_exported
from shardwright.folders.files import FileList, PackedNames, PathSource, list_of, pack_files

__all__ = ["FolderSource", "open_folder", "root_of", "walk"]


@dataclass(frozen=True, slots=True)
class _Listing:
    """What one folder holds; `path`, `folders` and `links` are relative to the root."""

    path: bytes
    names: PackedNames  # its images, sorted
    sizes: NDArray[np.int64]
    mtimes: NDArray[np.int64]
    folders: list[bytes]
    links: list[bytes]  # links to folders

    def paths(self) -> Iterator[bytes]:
        """Return the path of every image, relative to the root."""
        prefix = self.path + b"/" if self.path else b""
        return (prefix + name for name in self.names)


def _is_image(entry: "os.DirEntry[bytes]") -> bool:
    """Tell whether a file is an image by its extension or, failing that, its first bytes."""
    try:
        return has_image_name(entry.name) or is_image_start(read_start(entry.path))
    except OSError as error:
        raise unreadable(entry.path, str(error.strerror)) from error


def _same_in_nfc(names: Iterable[bytes]) -> list[bytes]:
    """Return the names that another name equals once both are normalised (NFC)."""
    names = set(names)
    odd = {name: name.decode("utf-8", "surrogateescape") for name in names if not name.isascii()}
    forms = {name: unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape") for name, text in odd.items()}
    same = Counter(forms.values())
    return sorted(name for name, form in forms.items() if same[form] > 1 or (form.isascii() and form in names))


def _list_folder(root: bytes, path: bytes, ignored: Counter[str]) -> _Listing:
    """List one folder and count in `ignored` what is no image."""
    images: list[tuple[bytes, int, int]] = []
    folders: list[bytes] = []
    links: list[bytes] = []
    try:
        with os.scandir(os.path.join(root, path)) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    ignored["hidden"] += 1
                    continue
                status = checked_status(entry.path, entry)
                if stat.S_ISDIR(status.st_mode) and is_of_system(entry.name):
                    ignored[f"left by a system: {printable(entry.name)}"] += 1
                elif stat.S_ISDIR(status.st_mode):
                    (links if entry.is_symlink() else folders).append(entry.name)
                elif _is_image(entry):
                    images.append((entry.name, status.st_size, status.st_mtime_ns))
                else:
                    ignored["not an image"] += 1
    except OSError as error:
        raise unreadable(os.path.join(root, path), str(error.strerror)) from error
    images.sort()
    for name in _same_in_nfc([*folders, *links, *(image[0] for image in images)]):
        shown = printable(os.path.join(path, name))
        ignored[f"kept, though another name looks the same (Unicode NFC): {shown}"] = 0
    return _Listing(
        path,
        *pack_files(images),
        [os.path.join(path, name) for name in folders],
        [os.path.join(path, name) for name in links],
    )


def walk(root: bytes, ignored: Counter[str]) -> list[_Listing]:
    """List the root (first) and all folders below it, each real folder once.

    Links wait until the real folders are listed, so that what lies inside the
    root keeps its own name. Folders are told apart by their real paths: mounts of FUSE
    repeat the numbers of inodes.
    """
    seen: set[bytes] = set()
    listings: list[_Listing] = []
    folders, links = [b""], list[bytes]()
    while folders or links:
        path = folders.pop() if folders else heapq.heappop(links)
        real = os.path.realpath(os.path.join(root, path))
        if real in seen:
            ignored[f"link to a folder that is read already: {printable(path)}"] += 1
            continue
        seen.add(real)
        listing = _list_folder(root, path, ignored)
        listings.append(listing)
        folders += listing.folders
        for link in listing.links:
            heapq.heappush(links, link)
    return listings


def root_of(path: str | os.PathLike[str]) -> bytes:
    """Return the absolute path of a folder."""
    root = os.path.abspath(os.path.expanduser(os.fsencode(path)))
    if not os.path.isdir(root):
        found = "is a file" if os.path.exists(root) else "does not exist"
        raise InputError(f"{printable(root)} {found}: give a folder with images")
    return root


def _no_images(root: bytes, classes: int, ignored: Counter[str]) -> InputError:
    where = f"any of its {classes} class folders" if classes else "it, nor class folders"
    seen = "; ".join([f"{reason}: {count}" for reason, count in sorted(ignored.items()) if count][:5])
    data = os.path.join(root, b"data")
    inside = f"; is {printable(data)} meant?" if os.path.isdir(data) else ""
    return InputError(
        f"{printable(root)} has no images in {where}: looked for {', '.join(IMAGE_EXTENSIONS)} "
        f"and for files that begin like one; found {seen or 'nothing'}{inside}"
    )


class FolderSource(PathSource):
    """A folder of class folders, or a folder of images without labels.

    Class folders are numbered in the order of their names (by code point), as
    torchvision's ``ImageFolder`` does, also those without an image; files in
    nested folders belong to their top folder. A file is an image if its name
    ends as one (`IMAGE_EXTENSIONS`, upper or lower case) or if it begins as
    one; everything else is counted in `ignored`. Hidden files and folders are
    no input. Linked folders are followed, each real folder is read once.

    Parameters
    ----------
    root : str or path-like
        The folder.
    files : FileList, optional
        What is in it, if that is known already.
    flat : bool
        Folders are no classes: all images, whatever folder they lie in, have no label.

    Raises
    ------
    InputError
        If there is no image, or if something cannot be read: a dangling link,
        a FIFO, socket or device, a file or folder without permission.

    Examples
    --------
    >>> source = FolderSource("photos")  # doctest: +SKIP
    >>> source[0]["label"]  # doctest: +SKIP
    0
    """

    def __init__(self, root: str | os.PathLike[str], *, files: FileList | None = None, flat: bool = False) -> None:
        where = root_of(root)
        super().__init__(where, _scan(where, flat) if files is None else files)
        if self.fields:
            self.labels_from, self.has_class_folders = FOLDER_NAMES, True
        self._root = where

    def flat(self) -> Source:
        """Return all images, whatever folder they lie in, without labels."""
        return FolderSource(os.fsdecode(self._root), flat=True) if self.has_class_folders else self

    def within(self, name: str) -> Source:
        """Return one of the class folders as a source of its own."""
        return FolderSource(os.path.join(os.fsdecode(self._root), name))

    def listing(self) -> dict[str, NDArray[Any]]:
        """Return the list of the files: 24 bytes for each, and its name."""
        return self._list.to_arrays()

    @classmethod
    def from_listing(cls, path: Path, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the source of a folder whose files are listed."""
        return cls(path, files=FileList.from_arrays(arrays))


def open_folder(path: Path) -> Source:
    """Return the source of a folder of images: with all that an export has said of them, if it is one."""
    return ExportedFolder(path) if is_exported(path) else FolderSource(path)


def _scan(root: bytes, flat: bool) -> FileList:
    """List the images of a folder, class by class."""
    ignored: Counter[str] = Counter()
    found = {part.path: part for part in walk(root, ignored)}
    counts = {path: len(part.names) for path, part in found.items()}
    # A link to a folder that is read already is an empty class.
    folders = dict.fromkeys(found[b""].links, 0) | counts
    order, labels, classes = (sorted(counts), None, None) if flat else by_class(root, folders, ignored)
    parts = [found[path] for path in order if path in found]
    if not any(counts[part.path] for part in parts):
        raise _no_images(root, len(classes or ()), ignored)
    return list_of(
        PackedNames(path for part in parts for path in part.paths()),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.mtimes for part in parts]),
        labels=labels,
        classes=classes,
        ignored=dict(sorted(ignored.items())),
    )
