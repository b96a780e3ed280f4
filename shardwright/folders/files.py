"""What all sources of image files share: names, sizes, labels, and what an image file looks like.

Paths are bytes throughout: names that are not UTF-8 work, and order and class
numbers do not depend on the locale. What is shown or published of a name is
always valid UTF-8 (`printable`).
"""

import contextlib
import os
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage, probe
from shardwright.base.images.probe import is_image_start
from shardwright.base.source import Source, digest_of
from shardwright.base.storage.names import READ_FLAGS, checked_status, printable, read_start

__all__ = [
    "FileSource",
    "PackedNames",
    "PathSource",
    "listed_files",
    "pack_files",
]


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


class FileSource(Source):
    """Samples that are image files with, or without, a class label.

    Where their bytes come from is up to `_read`.

    Parameters
    ----------
    paths : PackedNames
        Path of every file, with ``/`` between its parts.
    sizes : int64 array of shape (N,)
        Size of every file, in bytes.
    labels : int64 array of shape (N,), optional
        Class number of every file.
    classes : sequence of str, optional
        Names of the classes, if they have any.
    """

    threads = True

    def __init__(
        self,
        paths: PackedNames,
        sizes: NDArray[np.int64],
        *,
        labels: NDArray[np.int64] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self._paths, self._sizes, self._labels = paths, sizes, labels
        self._classes = None if classes is None else tuple(classes)
        if self._classes is not None:
            self.fields = {"label": Field(name="label", kind="class_label", names=self._classes)}
        self._digest = digest_of(paths.ends, sizes, paths.blob)

    def __len__(self) -> int:
        return len(self._paths)

    @abstractmethod
    def _read(self, index: int) -> bytes:
        """Return the bytes of file `index`, as many as its size."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, data = self._paths[index], self._read(index)
        image = EncodedImage(data, printable(path[path.rfind(b"/") + 1 :]))
        if self._labels is None:
            return {"image": image}
        return {"image": image, "label": self._labels.item(index)}

    def name(self, index: int) -> str:
        """Return the path of the file, relative to the root."""
        return printable(self._paths[index])

    def check(self) -> None:
        """Look at the first bytes of every file, and raise `InputError` for one that is no image.

        It takes microseconds a file; without it the last file may stop a conversion of hours.
        """
        for index in range(len(self)):
            with contextlib.suppress(OSError):  # told when it is read
                if not is_image_start(self._start(index)):
                    self._check_whole(index)

    def _check_whole(self, index: int) -> None:
        try:
            probe(self._read(index))  # rare kinds of images begin otherwise
        except InputError as error:
            raise type(error)(f"{self.name(index)}: {error}; mend or remove it, or pass on_error='skip'") from error

    def _start(self, index: int) -> bytes:
        """Return the first 16 bytes of a file, or more."""
        return self._read(index)

    def content(self) -> dict[str, Any]:
        """Return number of samples and classes, and an xxh3-128 over paths and sizes."""
        classes = None if self._classes is None else len(self._classes)
        return {"num_samples": len(self), "classes": classes, "digest": self._digest}


def _read_exactly(path: bytes, size: int) -> bytes:
    """Return the bytes of a file that had `size` bytes; more or fewer if it has changed."""
    handle = os.open(path, READ_FLAGS)
    try:
        data = os.read(handle, size + 1)  # one more: a file that grew is noticed
        while len(data) < size and (more := os.read(handle, size + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(handle)


class PathSource(FileSource):
    """A `FileSource` whose files lie in the file system.

    Parameters
    ----------
    root : bytes
        Absolute path that `paths` begin at.
    paths, sizes, **options
        As for `FileSource`.
    mtimes : int64 array of shape (N,)
        Time of the last change of every file, in ns.
    """

    def __init__(
        self,
        root: bytes,
        paths: PackedNames,
        sizes: NDArray[np.int64],
        mtimes: NDArray[np.int64],
        **options: Any,
    ) -> None:
        super().__init__(paths, sizes, **options)
        self._prefix = os.path.join(root, b"")
        self._state = digest_of(self._digest.encode(), mtimes)

    def _start(self, index: int) -> bytes:
        return read_start(self._prefix + self._paths[index])

    def _read(self, index: int) -> bytes:
        path, size = self._prefix + self._paths[index], self._sizes.item(index)
        data = _read_exactly(path, size)
        if len(data) != size:
            raise InputError(
                f"{printable(path)} has changed: it had {size} bytes when the "
                "folder was scanned; let nobody write to the input, then convert again"
            )
        return data

    def state(self) -> str:
        """Return an xxh3-128 over paths, sizes and modification times."""
        return self._state


def pack_files(
    files: Iterable[tuple[bytes, int, int]],
) -> tuple[PackedNames, NDArray[np.int64], NDArray[np.int64]]:
    """Return the paths, sizes and times of the last change of files as `PathSource` takes them."""
    rows = list(files)
    sizes, mtimes = (np.fromiter((row[i] for row in rows), np.int64, len(rows)) for i in (1, 2))
    return PackedNames(row[0] for row in rows), sizes, mtimes


def listed_files(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str] | None = None
) -> tuple[bytes, PackedNames, NDArray[np.int64], NDArray[np.int64]]:
    """Return what `PathSource` takes for a list of files, in its order.

    Parameters
    ----------
    paths : iterable of paths
    root : path, optional
        The folder that names are to begin at, if all files lie in it; else it is
        the innermost folder of them all.

    Raises
    ------
    InputError
        If one of the files cannot be read.
    """
    here = os.getcwdb()
    absolute = [os.path.join(here, os.fsencode(path)) for path in paths]
    folder = here if root is None else os.path.join(here, os.fsencode(root).rstrip(b"/"))
    prefix = os.path.join(folder, b"")
    if absolute and (root is None or not all(path.startswith(prefix) for path in absolute)):
        absolute = [os.path.normpath(path) for path in absolute]
        prefix = os.path.join(os.path.commonpath([os.path.dirname(path) for path in absolute]), b"")
    statuses = ((path, checked_status(path)) for path in absolute)
    return prefix, *pack_files((path[len(prefix) :], s.st_size, s.st_mtime_ns) for path, s in statuses)
