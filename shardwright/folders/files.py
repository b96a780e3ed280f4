"""What all sources of image files share: names, sizes, labels, and what an image file looks like.

Paths are bytes throughout: names that are not UTF-8 work, and order and class
numbers do not depend on the locale. What is shown or published of a name is
always valid UTF-8 (`printable`).
"""

import contextlib
import json
import os
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage, probe
from shardwright.base.images.probe import is_image_start
from shardwright.base.source import Places, Source, digest_of, not_in_place
from shardwright.base.storage.names import READ_FLAGS, checked_status, printable, read_start

__all__ = ["FileList", "FileSource", "PackedNames", "PathSource", "list_of", "listed_files", "pack_files"]


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

    @classmethod
    def packed(cls, blob: bytes, ends: NDArray[np.int64]) -> Self:
        """Return the list of which these are the two objects."""
        names = cls()
        names.blob, names.ends = blob, ends
        return names

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> bytes:
        return self.blob[self.ends.item(index) : self.ends.item(index + 1)]


@dataclass(frozen=True, slots=True)
class FileList:
    """Image files: what a scan of a folder, or the table of an archive, says of them."""

    paths: PackedNames  # with / between their parts
    sizes: NDArray[np.int64]
    state: str  # changes whenever one of the files does
    labels: NDArray[np.int64] | None = None  # class numbers
    classes: tuple[str, ...] | None = None
    ignored: Mapping[str, int] = field(default_factory=dict)  # what was left out: reason to count

    @property
    def digest(self) -> str:
        """An xxh3-128 over paths and sizes."""
        return digest_of(self.paths.ends, self.sizes, self.paths.blob)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` makes the same list of, without a copy of the names."""
        about = json.dumps({"classes": self.classes, "state": self.state, "ignored": dict(self.ignored)})
        texts = {"about": about.encode(), "names": self.paths.blob}
        arrays: dict[str, NDArray[Any]] = {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
        arrays |= {"ends": self.paths.ends, "sizes": self.sizes}
        return arrays if self.labels is None else arrays | {"labels": self.labels}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the list that `to_arrays` was called of."""
        about = json.loads(arrays["about"].tobytes())
        classes = None if about["classes"] is None else tuple(about["classes"])
        paths = PackedNames.packed(arrays["names"].tobytes(), arrays["ends"])
        return cls(paths, arrays["sizes"], about["state"], arrays.get("labels"), classes, about["ignored"])


class FileSource(Source):
    """Samples that are image files with, or without, a class label.

    Where their bytes come from is up to `_read`.

    Parameters
    ----------
    files : FileList
        The files, in the order of the samples.
    """

    threads = True
    keeps_samples = True
    holds_files = True

    def __init__(self, files: FileList) -> None:
        self._list, self._paths, self._sizes, self._labels = files, files.paths, files.sizes, files.labels
        if files.classes is not None:
            self.fields = {"label": Field(name="label", kind="class_label", names=files.classes)}
        self.ignored, self.nbytes = files.ignored, int(files.sizes.sum())

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
        classes = None if self._list.classes is None else len(self._list.classes)
        return {"num_samples": len(self), "classes": classes, "digest": self._list.digest}

    def state(self) -> str:
        """Return a digest that covers modification times, too."""
        return self._list.state


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
        Absolute path that the paths begin at.
    files : FileList
        The files, in the order of the samples.
    """

    def __init__(self, root: bytes, files: FileList) -> None:
        super().__init__(files)
        self._prefix = os.path.join(root, b"")

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

    def places(self) -> Sequence[Places]:
        """Raise `InputError`: a shard is a file of many samples."""
        raise not_in_place(printable(self._prefix.rstrip(b"/")), "every image is a file of its own")


def pack_files(files: Iterable[tuple[bytes, int, int]]) -> tuple[PackedNames, NDArray[np.int64], NDArray[np.int64]]:
    """Return the paths, sizes and times of the last change (ns) of files, packed."""
    rows = list(files)
    sizes, mtimes = (np.fromiter((row[i] for row in rows), np.int64, len(rows)) for i in (1, 2))
    return PackedNames(row[0] for row in rows), sizes, mtimes


def list_of(paths: PackedNames, sizes: NDArray[np.int64], mtimes: NDArray[np.int64], **more: Any) -> FileList:
    """Return a list of files whose state covers the times of their last changes."""
    files = FileList(paths, sizes, "", **more)
    return replace(files, state=digest_of(files.digest.encode(), mtimes))


def listed_files(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str] | None = None
) -> tuple[bytes, FileList]:
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
    return prefix, list_of(*pack_files((path[len(prefix) :], s.st_size, s.st_mtime_ns) for path, s in statuses))
