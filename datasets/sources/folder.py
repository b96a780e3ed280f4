"""Folders of image files: one folder per class, or all images in one folder.

The whole tree is looked at before anything is read, so that what cannot be
converted is told at once. Paths are bytes throughout: names that are not UTF-8
work, and order and class numbers do not depend on the locale. What is shown or
published of a name is always valid UTF-8 (`printable`).
"""

import heapq
import os
import re
import stat
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from datasets.base.errors import InputError
from datasets.base.fields import Field
from datasets.base.images import EncodedImage
from datasets.sources.source import Source

__all__ = [
    "IMAGE_EXTENSIONS",
    "FileSource",
    "FolderSource",
    "PackedNames",
    "checked_status",
    "is_image_start",
    "printable",
]

IMAGE_EXTENSIONS = (
    *("jpg", "jpeg", "png", "ppm", "pgm", "pbm"),
    *("bmp", "tif", "tiff", "webp", "gif", "jp2"),
)
_EXTENSIONS = frozenset(extension.encode() for extension in IMAGE_EXTENSIONS)
_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF, little-endian
    b"MM\0*",  # TIFF, big-endian
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000 file
    b"\xff\x4f\xff\x51",  # JPEG 2000 code stream
)
_NETPBM = re.compile(rb"P[1-6]\s[#0-9]")
# O_NONBLOCK: a FIFO put in a file's place after the scan must not hang a worker.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_EFFECTIVE_IDS = os.access in os.supports_effective_ids


def printable(name: bytes) -> str:
    r"""Return `name` as valid UTF-8; bytes that are not become ``\xff``."""
    return name.decode("utf-8", "backslashreplace")


def is_image_start(head: bytes) -> bool:
    """Tell whether a file that begins with `head` (16 bytes) is an image."""
    if head.startswith(_MAGIC):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":  # two letters are weak; a BMP has four reserved zeros too
        return head[6:10] == bytes(4)
    return _NETPBM.match(head) is not None


class PackedNames:
    """A list of byte strings in two objects, however many there are.

    Worker processes share or receive it without one Python object per sample.

    Parameters
    ----------
    names : iterable of bytes
        The strings, taken one by one.
    """

    __slots__ = ("blob", "ends")

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        blob, ends = bytearray(), array("q", [0])
        for name in names:
            blob += name
            ends.append(len(blob))
        self.blob = bytes(blob)
        self.ends: NDArray[np.int64] = np.frombuffer(ends, np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> bytes:
        return self.blob[self.ends.item(index) : self.ends.item(index + 1)]


def _read_exactly(path: bytes, size: int) -> bytes:
    """Return the bytes of a file that had `size` bytes; more or fewer if it has changed."""
    handle = os.open(path, _READ_FLAGS)
    try:
        data = os.read(handle, size + 1)  # one more: a file that grew is noticed
        while len(data) < size and (more := os.read(handle, size + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(handle)


class FileSource(Source):
    """Samples that are image files with, or without, a class label.

    Parameters
    ----------
    root : bytes
        Absolute path that `paths` begin at.
    paths : PackedNames
        Path of every file, with ``/`` between its parts.
    sizes, mtimes : int64 array of shape (N,)
        Size in bytes and time of the last change in ns of every file.
    labels : int64 array of shape (N,), optional
        Class number of every file.
    classes : sequence of str, optional
        Names of the classes, if they have any.
    """

    def __init__(
        self,
        root: bytes,
        paths: PackedNames,
        sizes: NDArray[np.int64],
        mtimes: NDArray[np.int64],
        *,
        labels: NDArray[np.int64] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self._prefix = os.path.join(root, b"")
        self._paths, self._sizes, self._labels = paths, sizes, labels
        self._classes = None if classes is None else tuple(classes)
        if self._classes is not None:
            self.fields = {"label": Field(name="label", kind="class_label", names=self._classes)}
        digest = xxhash.xxh3_128()
        for part in (paths.ends, sizes):
            digest.update(part.astype("<i8").tobytes())
        digest.update(paths.blob)
        self._digest = digest.hexdigest()
        digest.update(mtimes.astype("<i8").tobytes())
        self._state = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, size = self._paths[index], self._sizes.item(index)
        data = _read_exactly(self._prefix + path, size)
        if len(data) != size:
            raise InputError(
                f"{printable(self._prefix + path)} has changed: it had {size} bytes when the "
                "folder was scanned; let nobody write to the input, then convert again"
            )
        image = EncodedImage(data, printable(path[path.rfind(b"/") + 1 :]))
        if self._labels is None:
            return {"image": image}
        return {"image": image, "label": self._labels.item(index)}

    def name(self, index: int) -> str:
        """Return the path of the file, relative to the root."""
        return printable(self._paths[index])

    def content(self) -> dict[str, Any]:
        """Return number of samples and classes, and an xxh3-128 over paths and sizes."""
        classes = None if self._classes is None else len(self._classes)
        return {"num_samples": len(self), "classes": classes, "digest": self._digest}

    def state(self) -> str:
        """Return an xxh3-128 over paths, sizes and modification times."""
        return self._state


@dataclass(frozen=True, slots=True)
class _Listing:
    """What one folder holds; `path`, `folders` and `links` are relative to the root."""

    path: bytes
    names: PackedNames  # its images, sorted
    sizes: "array[int]"
    mtimes: "array[int]"
    folders: list[bytes]
    links: list[bytes]  # links to folders

    @property
    def top(self) -> bytes:
        """The class folder it belongs to."""
        return self.path.split(b"/", 1)[0]

    def paths(self) -> Iterator[bytes]:
        """Return the path of every image, relative to the root."""
        prefix = self.path + b"/" if self.path else b""
        return (prefix + name for name in self.names)


def _unreadable(path: bytes, reason: str) -> InputError:
    return InputError(
        f"{printable(path)} cannot be read: {reason}; mend it, move it away, or give it a name that begins with a dot"
    )


def checked_status(path: bytes, entry: "os.DirEntry[bytes] | None" = None) -> os.stat_result:
    """Return what stat says of a file or folder; links are followed.

    Parameters
    ----------
    path : bytes
        The file or folder.
    entry : os.DirEntry, optional
        Its entry in the folder above, which may know already.

    Raises
    ------
    InputError
        If it is missing, neither a file nor a folder, or not allowed to be read.
    """
    try:
        status = os.stat(path) if entry is None else entry.stat()
    except OSError as error:
        link = f"a link to {printable(os.readlink(path))}, " if os.path.islink(path) else ""
        raise _unreadable(path, f"{link}{error.strerror}") from error
    mode = status.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _unreadable(path, "it is a FIFO, socket or device")
    # The call is spared where everybody may read, as nearly always.
    if mode & 0o444 != 0o444 and not os.access(path, os.R_OK, effective_ids=_EFFECTIVE_IDS):
        raise _unreadable(path, "permission denied")
    return status


def _is_image(entry: "os.DirEntry[bytes]") -> bool:
    """Tell whether a file is an image by its extension or, failing that, its first bytes."""
    if entry.name.rpartition(b".")[2].lower() in _EXTENSIONS:
        return True
    return is_image_start(_read_start(entry.path))


def _read_start(path: bytes) -> bytes:
    try:
        handle = os.open(path, _READ_FLAGS)
        try:
            return os.read(handle, 16)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error


def _same_in_nfc(names: Iterable[bytes]) -> list[bytes]:
    """Return the names that another name equals once both are normalised (NFC)."""
    names = set(names)
    odd = {name for name in names if not name.isascii()}
    by_form: dict[bytes, list[bytes]] = {}
    for name in odd:
        text = unicodedata.normalize("NFC", name.decode("utf-8", "surrogateescape"))
        by_form.setdefault(text.encode("utf-8", "surrogateescape"), []).append(name)
    return sorted(
        name for form, same in by_form.items() for name in same if len(same) > 1 or (form not in odd and form in names)
    )


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
                if stat.S_ISDIR(status.st_mode):
                    (links if entry.is_symlink() else folders).append(entry.name)
                elif _is_image(entry):
                    images.append((entry.name, status.st_size, status.st_mtime_ns))
                else:
                    ignored["not an image"] += 1
    except OSError as error:
        raise _unreadable(os.path.join(root, path), str(error.strerror)) from error
    images.sort()
    for name in _same_in_nfc([*folders, *links, *(image[0] for image in images)]):
        shown = printable(os.path.join(path, name))
        ignored[f"kept, though another name looks the same (Unicode NFC): {shown}"] = 0
    return _Listing(
        path,
        PackedNames(image[0] for image in images),
        array("q", (image[1] for image in images)),
        array("q", (image[2] for image in images)),
        [os.path.join(path, name) for name in folders],
        [os.path.join(path, name) for name in links],
    )


def _walk(root: bytes, ignored: Counter[str]) -> list[_Listing]:
    """List the root (first) and all folders below it, each real folder once.

    Links wait until the real folders are listed, so that what lies inside the
    root keeps its own name.
    """
    seen: set[tuple[int, int]] = set()
    listings: list[_Listing] = []
    folders, links = [b""], list[bytes]()
    while folders or links:
        path = folders.pop() if folders else heapq.heappop(links)
        status = checked_status(os.path.join(root, path))
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            ignored[f"link to a folder that is read already: {printable(path)}"] += 1
            continue
        seen.add(identity)
        listing = _list_folder(root, path, ignored)
        listings.append(listing)
        folders += listing.folders
        for link in listing.links:
            heapq.heappush(links, link)
    return listings


def _class_names(root: bytes, folders: Sequence[bytes]) -> tuple[str, ...]:
    """Return the names of the classes, which are different even where they are not UTF-8."""
    names = tuple(printable(folder) for folder in folders)
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{printable(root)} has two class folders shown as {name}: rename one")
    return names


def _check_root(root: bytes) -> None:
    if not os.path.exists(root):
        raise InputError(f"{printable(root)} does not exist: give a folder with images")
    if not os.path.isdir(root):
        raise InputError(f"{printable(root)} is a file: give a folder with images")


def _check_found(root: bytes, found: int, classes: int, ignored: Counter[str]) -> None:
    if found:
        return
    where = f"any of its {classes} class folders" if classes else "it, nor class folders"
    seen = "; ".join(f"{reason}: {count}" for reason, count in sorted(ignored.items())[:5])
    raise InputError(
        f"{printable(root)} has no images in {where}: looked for {', '.join(IMAGE_EXTENSIONS)} "
        f"and for files that begin like one; found {seen or 'nothing'}"
    )


class FolderSource(FileSource):
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

    def __init__(self, root: str | os.PathLike[str]) -> None:
        where = os.path.abspath(os.path.expanduser(os.fsencode(root)))
        _check_root(where)
        ignored: Counter[str] = Counter()
        top, *inner = _walk(where, ignored)
        classes = sorted((*top.folders, *top.links))
        number = {name: index for index, name in enumerate(classes)}
        if classes and len(top.names):
            ignored["image outside any class folder"] = len(top.names)
        # By class first: sorted as text, "a-b" would stand between "a" and "a/b".
        parts = sorted(inner, key=lambda part: (number[part.top], part.path)) or [top]
        counts = [len(part.names) for part in parts]
        _check_found(where, sum(counts), len(classes), ignored)
        super().__init__(
            where,
            PackedNames(path for part in parts for path in part.paths()),
            np.concatenate([np.frombuffer(part.sizes, np.int64) for part in parts]),
            np.concatenate([np.frombuffer(part.mtimes, np.int64) for part in parts]),
            labels=np.repeat([number[part.top] for part in parts], counts) if classes else None,
            classes=_class_names(where, classes) if classes else None,
        )
        for name in set(classes).difference(part.top for part in parts if len(part.names)):
            ignored[f"empty class folder: {printable(name)}"] = 0
        self.ignored = dict(sorted(ignored.items()))
