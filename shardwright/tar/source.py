"""Archives of class folders, read in place: a tar, a zip, or a tar of class tars.

On a cluster a million small files are what hurts (inode quotas, metadata
servers), so an archive is never unpacked: its table of contents is read once,
and every image then by its byte range. Classes, order and bytes are those of
the unpacked folder, so the converted split is the same, byte for byte.
"""

import os
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from shardwright.base.errors import InputError
from shardwright.base.storage.files import FileCache, read_exactly
from shardwright.base.storage.names import printable
from shardwright.folders.files import FileSource, PackedNames
from shardwright.tar.archive_table import ArchiveTable

__all__ = ["ArchiveSource", "is_archive"]

_SUFFIXES = (".tar", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of name and extra field


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive by its name; compressed tars too, so that they get a helpful error."""
    return os.path.isfile(path) and os.fspath(path).lower().endswith(_SUFFIXES)


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

    Raises
    ------
    InputError
        If it is no such archive, is compressed as a whole, or holds no image.

    Examples
    --------
    >>> ArchiveSource("ILSVRC2012_img_train.tar").name(0)  # doctest: +SKIP
    'n01440764/n01440764_10026.JPEG'
    """

    def __init__(self, path: str | os.PathLike[str], classes: Mapping[str, str] | None = None) -> None:
        self._archive = Path(path).expanduser().absolute()
        table = _read_table(self._archive, classes)
        rows, labels, class_names = table.in_order()
        if not len(rows):
            raise InputError(f"{self._archive} holds no images; found {table.summary() or 'nothing'}")
        self._offsets, self._stored, sizes, deflated, self._crcs = table.columns(rows)
        self._deflated = deflated.astype(bool)
        super().__init__(
            PackedNames(map(table.path, rows.tolist())),
            sizes,
            labels=labels,
            classes=class_names,
        )
        status = self._archive.stat()
        self._archive_size, self._state = status.st_size, f"{status.st_size}-{status.st_mtime_ns}"
        self._files = FileCache(1)
        self.ignored = dict(sorted(table.ignored.items()))

    def _start(self, index: int) -> bytes:
        if self._deflated[index]:
            return self._read(index)
        return self._stored_bytes(index, min(16, self._stored.item(index)))

    def _stored_bytes(self, index: int, count: int) -> bytes:
        with self._files.open(self._archive, self._archive_size) as fd:
            return read_exactly(fd, count, self._offsets.item(index), self._archive)

    def _read(self, index: int) -> bytes:
        data = self._stored_bytes(index, self._stored.item(index))
        size = self._sizes.item(index)
        if self._deflated[index]:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        if len(data) != size:
            raise InputError(
                f"{self._archive}: {self.name(index)} inflates to other than its {size} bytes; mend the zip"
            )
        if self._crcs[index] >= 0 and zlib.crc32(data) != self._crcs[index]:
            raise InputError(f"{self._archive}: {self.name(index)} is damaged, its CRC-32 differs; mend the zip")
        return data

    def state(self) -> str:
        """Return size and time of the last change of the archive."""
        return self._state


def _read_table(path: Path, classes: Mapping[str, str] | None) -> ArchiveTable:
    import tarfile  # readers, which get to import this module, do not need it

    table = ArchiveTable(path, classes)
    try:
        if zipfile.is_zipfile(path):
            _read_zip(path, table)
        else:
            with path.open("rb") as file:
                _read_tar(file, 0, b"", table)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError) as error:
        raise InputError(
            f"{path} is not a tar or zip archive that can be read in place ({error}); unpack what is "
            "compressed as a whole (gunzip x.tar.gz) and give the plain .tar"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return table


def _read_tar(file: IO[bytes], start: int, folder: bytes, table: ArchiveTable) -> None:
    """List a tar that begins at byte `start` of the archive; a tar in it is the folder of its name."""
    import tarfile

    with tarfile.open(fileobj=file, mode="r:") as archive:
        for entry in archive:
            archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every entry
            name = folder + _clean(entry.name.encode("utf-8", "surrogateescape"))
            if entry.isdir():
                table.add_folder(name)
            elif not entry.isfile() or entry.issparse():
                table.ignored["link, device or sparse file"] += 1
            elif name.endswith(b".tar") and not folder:
                table.add_folder(name[:-4])
                inner = archive.extractfile(entry)
                if inner is not None:
                    _read_tar(inner, entry.offset_data, name[:-4] + b"/", table)
            else:
                table.add(name, start + entry.offset_data, entry.size, entry.size)
        _check_end(file, archive.offset, start, table)


def _check_end(file: IO[bytes], end: int, start: int, table: ArchiveTable) -> None:
    """See that nothing but zeros comes after the last member: to tarfile a damaged header is the end, too."""
    file.seek(end)
    while block := file.read(2**20):
        if block.strip(b"\0"):
            raise InputError(
                f"{table.archive}: no header of a member at byte {start + end}, and not the end: the archive is cut or "
                "damaged there, or joined of several: copy it again, or pack it anew"
            )


def _read_zip(path: Path, table: ArchiveTable) -> None:
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for entry in archive.infolist():
            name = _clean(entry.filename.encode("utf-8", "surrogateescape"))
            if entry.is_dir():
                table.add_folder(name)
            elif (entry.external_attr >> 28) not in (0, 8):  # the kind of file in a Unix mode: not a regular one
                table.ignored["link, device or sparse file"] += 1
            else:
                deflated = entry.compress_type == zipfile.ZIP_DEFLATED
                if entry.flag_bits & 1 or not (deflated or entry.compress_type == zipfile.ZIP_STORED):
                    raise InputError(
                        f"{path}: {printable(name)} is encrypted or compressed by method {entry.compress_type}; "
                        "make the zip with stored or deflated members"
                    )
                table.add(name, _data_offset(file, entry), entry.compress_size, entry.file_size, deflated, entry.CRC)


def _data_offset(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin, which only the header before them tells."""
    file.seek(entry.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no header at byte {entry.header_offset}")
    return int(entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length)


def _clean(name: bytes) -> bytes:
    path = posixpath.normpath(name)
    if path.startswith((b"/", b"../")) or path == b"..":
        raise InputError(
            f"an archive member is called {printable(name)}, outside of the archive; make the archive anew"
        )
    return path
