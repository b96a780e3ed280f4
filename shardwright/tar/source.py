"""Archives read in place: a tar or zip of class folders, of images, or of webdataset's samples.

On a cluster a million small files are what hurts (inode quotas, metadata
servers), so an archive is never unpacked: its table of contents is read once,
and every value then by its byte range.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.formats import get_format
from shardwright.base.source import Places, Source, not_in_place
from shardwright.base.storage.files import FileCache, read_exactly
from shardwright.base.storage.ranges import Ranges
from shardwright.folders.files import FileSource, PackedNames
from shardwright.tar.class_folders import ArchiveFolder
from shardwright.tar.members import Members, inflated, list_members
from shardwright.tar.samples import SamplesSource, holds_samples

__all__ = ["ArchiveSource", "is_archive", "open_archive"]


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive by its name; compressed tars too, so that they get a helpful error."""
    return os.path.isfile(path) and get_format("tar").is_named(os.path.basename(os.fspath(path)))


def open_archive(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Source:
    """Return the source of archives: of one with class folders or images, or of some with webdataset's samples.

    Raises
    ------
    InputError
        If one cannot be read, or if there are several with class folders.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    listed = [list_members(Path(path).expanduser().absolute()) for path in given]
    if len(listed) == 1 and not holds_samples(listed[0]):
        return ArchiveSource(listed[0].path, members=listed[0])
    return SamplesSource(listed)


class ArchiveSource(FileSource):
    """The images of an archive, in the order of the unpacked folder.

    Parameters
    ----------
    path : str or path-like
        A ``.tar`` or ``.zip`` of class folders (or of images without classes), or a
        ``.tar`` of one ``.tar`` per class, as ImageNet's training archive is. One
        folder around all class folders is passed over.
    classes : mapping of str to str, optional
        For an archive without class folders: file name to class name, as ImageNet's
        validation archive needs it.
    members : Members, optional
        What was listed already.

    Raises
    ------
    InputError
        If it is no such archive, is compressed as a whole, or holds no image.

    Examples
    --------
    >>> ArchiveSource("ILSVRC2012_img_train.tar").name(0)  # doctest: +SKIP
    'n01440764/n01440764_10026.JPEG'
    """

    format_name = "tar"

    def __init__(
        self,
        path: str | os.PathLike[str],
        classes: Mapping[str, str] | None = None,
        *,
        members: Members | None = None,
    ) -> None:
        self._archive = Path(path).expanduser().absolute()
        members = list_members(self._archive) if members is None else members
        folder = ArchiveFolder(members, classes)
        rows, labels, class_names = folder.in_order()
        if not len(rows):
            raise InputError(f"{self._archive} holds no images; found {folder.summary() or 'nothing'}")
        self._offsets, self._stored, sizes, deflated, self._crcs = members.columns(rows)
        self._deflated = deflated.astype(bool)
        super().__init__(
            PackedNames(map(folder.path, rows.tolist())),
            sizes,
            labels=labels,
            classes=class_names,
        )
        self._archive_size, self._state = self._archive.stat().st_size, _state(self._archive)
        self._files = FileCache(1)
        self.ignored = dict(sorted(folder.ignored.items()))

    def _start(self, index: int) -> bytes:
        if self._deflated[index]:
            return self._read(index)
        return self._stored_bytes(index, min(16, self._stored.item(index)))

    def _stored_bytes(self, index: int, count: int) -> bytes:
        with self._files.open(self._archive, self._archive_size) as fd:
            return read_exactly(fd, count, self._offsets.item(index), self._archive)

    def _read(self, index: int) -> bytes:
        data = self._stored_bytes(index, self._stored.item(index))
        size, deflated, crc = self._sizes.item(index), bool(self._deflated[index]), self._crcs.item(index)
        return inflated(data, size, deflated, crc, self._archive, self._paths[index])

    def state(self) -> str:
        """Return size and time of the last change of the archive."""
        return self._state

    def places(self) -> list[Places]:
        """Return where the images lie in the archive; labels are scalars."""
        deflated = int(np.count_nonzero(self._deflated))
        if deflated:
            raise not_in_place(self._archive, f"{deflated} of its {len(self)} images are compressed")
        image, label = Field("image", "image"), self.fields.get("label")
        fields = (image,) if label is None else (image, label)
        scalars = {} if self._labels is None else {"label": self._labels}
        ranges = {"image": Ranges(self._archive, self._offsets, self._stored)}
        return [Places(len(self), fields, ranges, scalars, (self._archive,))]

    def changed(self) -> str | None:
        """Return the archive's path if its size or time of the last change is another one now."""
        return None if _state(self._archive) == self._state else str(self._archive)


def _state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
