"""Archives read in place: a tar or zip of class folders, of images, or of webdataset's samples.

On a cluster a million small files are what hurts (inode quotas, metadata
servers), so an archive is never unpacked: its table of contents is read once,
and every value then by its byte range.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.formats import get_format
from shardwright.base.source import Places, Source, not_in_place
from shardwright.base.storage.files import FileCache, read_exactly
from shardwright.base.storage.ranges import Ranges
from shardwright.folders.class_folders import FOLDER_NAMES
from shardwright.folders.files import FileList, FileSource, PackedNames
from shardwright.tar.class_folders import ArchiveFolder
from shardwright.tar.members import Members, inflated, list_members
from shardwright.tar.samples import SamplesSource, holds_samples

__all__ = ["ArchiveSource", "is_archive", "open_archive"]

_PLACES = ("offsets", "stored", "deflated", "crcs")


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
    for members in listed if len(listed) > 1 else ():
        _refuse_classes(members)
    return SamplesSource(listed)


def _refuse_classes(members: Members) -> None:
    """Raise `InputError` if an archive is one of class folders, whose labels several archives would lose."""
    if not holds_samples(members) and ArchiveFolder(members).in_order()[2] is not None:
        raise InputError(
            f"{members.path} holds class folders, and there are more archives beside it: give it alone (its path "
            "instead of the folder's), or pack all class folders into one archive"
        )


@dataclass(frozen=True, slots=True)
class _Images:
    """The images of an archive, and where each lies in it: offset, stored bytes, whether deflated, CRC-32."""

    files: FileList
    offsets: NDArray[np.int64]
    stored: NDArray[np.int64]
    deflated: NDArray[np.bool_]
    crcs: NDArray[np.int64]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return self.files.to_arrays() | {name: getattr(self, name) for name in _PLACES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(FileList.from_arrays(arrays), **{name: arrays[name] for name in _PLACES})


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
    within : str
        A folder in the archive, as if that were the archive.
    flat : bool
        Folders are no classes.
    members, images : optional
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
        within: str = "",
        flat: bool = False,
        members: Members | None = None,
        images: _Images | None = None,
    ) -> None:
        self._archive = Path(path).expanduser().absolute()
        if images is None:
            images = _find_images(members or list_members(self._archive), classes, within, flat)
        super().__init__(images.files)
        if self.fields and classes is None:
            self.labels_from, self.has_class_folders = FOLDER_NAMES, True
        self._images, self._archive_size, self._files = images, self._archive.stat().st_size, FileCache(1)

    def _start(self, index: int) -> bytes:
        if self._images.deflated[index]:
            return self._read(index)
        return self._stored_bytes(index, min(16, self._images.stored.item(index)))

    def _stored_bytes(self, index: int, count: int) -> bytes:
        with self._files.open(self._archive, self._archive_size) as fd:
            return read_exactly(fd, count, self._images.offsets.item(index), self._archive)

    def _read(self, index: int) -> bytes:
        data = self._stored_bytes(index, self._images.stored.item(index))
        size, deflated, crc = self._sizes.item(index), bool(self._images.deflated[index]), self._images.crcs.item(index)
        return inflated(data, size, deflated, crc, self._archive, self._paths[index])

    def places(self) -> list[Places]:
        """Return where the images lie in the archive; labels are scalars."""
        deflated = int(np.count_nonzero(self._images.deflated))
        if deflated:
            raise not_in_place(self._archive, f"{deflated} of its {len(self)} images are compressed")
        image, label = Field("image", "image"), self.fields.get("label")
        fields = (image,) if label is None else (image, label)
        scalars = {} if self._labels is None else {"label": self._labels}
        ranges = {"image": Ranges(self._archive, self._images.offsets, self._images.stored)}
        return [Places(len(self), fields, ranges, scalars, (self._archive,))]

    def flat(self) -> Source:
        """Return all images, whatever folder they lie in, without labels."""
        return ArchiveSource(self._archive, flat=True) if self.has_class_folders else self

    def within(self, name: str) -> Source:
        """Return one of the top folders as a source of its own."""
        members = list_members(self._archive)
        outer = os.fsdecode(ArchiveFolder(members).outer())
        return ArchiveSource(self._archive, within=os.path.join(outer, name), members=members)

    def changed(self) -> str | None:
        """Return the archive's path if its size or time of the last change is another one now."""
        return None if _state(self._archive) == self.state() else str(self._archive)

    def listing(self) -> dict[str, NDArray[Any]]:
        """Return the table of the images: 49 bytes for each, and its name."""
        return self._images.to_arrays()

    @classmethod
    def from_listing(cls, path: Path, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the source of an archive whose images are listed."""
        return cls(path, images=_Images.from_arrays(arrays))


def _find_images(members: Members, classes: Mapping[str, str] | None, within: str, flat: bool) -> _Images:
    """Return the images of an archive; anything else is counted."""
    folder = ArchiveFolder(members, classes, os.fsencode(within), flat)
    rows, labels, names = folder.in_order()
    if not len(rows):
        where = f"{members.path}, folder {within}," if within else str(members.path)
        raise InputError(f"{where} holds no images; found {folder.summary() or 'nothing'}")
    offsets, stored, sizes, deflated, crcs = members.columns(rows)
    paths, ignored = PackedNames(map(folder.path, rows.tolist())), dict(sorted(folder.ignored.items()))
    files = FileList(paths, sizes, _state(members.path), labels, names, ignored)
    return _Images(files, offsets, stored, deflated.astype(bool), crcs)


def _state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
