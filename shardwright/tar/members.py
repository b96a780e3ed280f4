"""The members of a tar or zip archive, listed once: packed, without one Python object for each.

Headers are read by `tarfile` and `zipfile`, of a tar through a window that refuses what
no honest header asks for: a forged one can neither make it read gigabytes nor go round in
circles. Nothing is extracted; a link to a member is that member under another name. A tar in a
tar is the folder of its name, as in ImageNet's training archive.
"""

import io
import posixpath
import tarfile
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError, ShardwrightError, UnsafeDataError
from shardwright.base.storage.names import printable
from shardwright.base.storage.zip_members import stored_offset

__all__ = ["Members", "inflated", "list_members"]

_ODD = "link, device or sparse file"
_UNIX = (3, 19)  # what a zip says of the system that made it; on all others a name has no backslash but between folders
_MOST_LINKS = 40  # one after the other, as Linux follows
_MAX_HEADER = 2**20  # bytes of the texts of one header: long names, PAX records
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


class Members:
    """The files of an archive in their order, its folders, and what is neither.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path, self.is_zip = path, False
        self.folders: dict[bytes, None] = {}  # an ordered set
        self.odd: Counter[str] = Counter()  # reason to the number of members that are no files
        self.links: list[tuple[bytes, bytes]] = []  # name and what it leads to, both in the archive
        self._names, self._ends = bytearray(), array("q", [0])
        self._places = array("q")  # of each file: what `place` returns

    def add(self, name: bytes, offset: int, stored: int, size: int, deflated: bool = False, crc: int = -1) -> None:
        """Note a file; with -1 its CRC-32 is unknown."""
        self._names += name
        self._ends.append(len(self._names))
        self._places.extend((offset, stored, size, deflated, crc))

    def follow_links(self) -> None:
        """Note every link that leads to a file here as that file; the others are counted."""
        leads_to = dict(self.links)
        wanted = set(leads_to.values())
        rows = {name: row for row, name in enumerate(self.names()) if name in wanted}
        for name, first in self.links:
            target = first
            for _ in range(_MOST_LINKS):
                target = target if target in rows else leads_to.get(target, target)
            if target in rows:
                self.add(name, *self.place(rows[target]))
            else:
                self.odd[_ODD] += 1
        self.links.clear()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def name(self, row: int) -> bytes:
        """Return the path of a file in the archive."""
        return bytes(self._names[self._ends[row] : self._ends[row + 1]])

    def names(self) -> Iterator[bytes]:
        """Yield the paths of all files."""
        return map(self.name, range(len(self)))

    def place(self, row: int) -> tuple[int, int, int, bool, int]:
        """Return offset, stored bytes, size, whether it is deflated, and CRC-32 of a file."""
        offset, stored, size, deflated, crc = self._places[5 * row : 5 * row + 5]
        return offset, stored, size, bool(deflated), crc

    def columns(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what `place` does of some files, one array for each: int64 (5, N)."""
        return np.ascontiguousarray(np.frombuffer(self._places, np.int64).reshape(-1, 5)[rows].T)

    def start(self, row: int) -> bytes:
        """Return the first 16 bytes of a file."""
        offset, stored, _, deflated, _ = self.place(row)
        with self.path.open("rb") as file:
            file.seek(offset)
            head = file.read(min(stored, 512))
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, 16) if deflated else head[:16]


def list_members(path: Path) -> Members:
    """List an archive.

    Raises
    ------
    InputError
        If it is no tar or zip, is cut, damaged, or compressed as a whole.
    UnsafeDataError
        If a header is forged.
    """
    members = Members(path)
    try:
        with path.open("rb") as file:
            head = file.read(6)
            if head.startswith(_COMPRESSED):
                raise InputError(
                    f"{path} is compressed as a whole, so no member lies in it as it is: unpack that (gunzip, bunzip2, "
                    "unxz, unzstd) and give the plain .tar"
                )
            if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                _list_zip(file, members)
            else:
                _list_tar(_Window(file, 0, path.stat().st_size), b"", members)
                members.follow_links()
    except ShardwrightError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # tarfile and zipfile raise many things about a damaged file
        raise InputError(
            f"{path} is not a tar or zip archive that can be read in place: it is damaged, or another kind of file "
            f"({error}); copy it again, or pack it anew"
        ) from error
    return members


def inflated(data: bytes, size: int, deflated: bool, crc: int, archive: Path, name: bytes) -> bytes:
    """Return a member's content, of the bytes that are stored of it.

    Raises
    ------
    InputError
        If it is not as long, or its CRC-32 is not, as the archive says.
    """
    if deflated:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        except zlib.error as error:
            raise InputError(f"{archive}: {printable(name)} is damaged ({error}); mend the zip") from error
    if len(data) != size:
        raise InputError(f"{archive}: {printable(name)} inflates to other than its {size} bytes; mend the zip")
    if crc >= 0 and zlib.crc32(data) != crc:
        raise InputError(f"{archive}: {printable(name)} is damaged, its CRC-32 differs; mend the zip")
    return data


class _Window(io.RawIOBase):
    """A part of a file of which only small pieces are read, and nothing before its beginning."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self.start, self._size, self._position = file, start, size, 0

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER:
            raise UnsafeDataError(f"the header before byte {self.tell()} asks for {size} bytes of text: it is forged")
        self._file.seek(self.start + self._position)
        data = self._file.read(max(0, min(size, self._size - self._position)))
        self._position += len(data)
        return data

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        position += {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise UnsafeDataError(f"the header before byte {self.tell()} leads to byte {position}: it is forged")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def part(self, start: int, size: int) -> "_Window":
        """Return a part of this part."""
        return _Window(self._file, self.start + start, max(0, min(size, self._size - start)))


def _list_tar(file: _Window, folder: bytes, members: Members) -> None:
    """List a tar; a tar in it is the folder of its name."""
    for entry in _entries(file, members.path):
        name = folder + _clean(entry.name.encode("utf-8", "surrogateescape"), members.path)
        if entry.isdir():
            members.folders[name] = None
        elif entry.islnk() or entry.issym():
            members.links.append((name, _target(entry, name, folder)))
        elif not entry.isreg() or entry.sparse is not None or entry.type == tarfile.GNUTYPE_SPARSE:
            members.odd[_ODD] += 1
        elif name.endswith(b".tar") and not folder:
            members.folders[name[:-4]] = None
            _list_tar(file.part(entry.offset_data, entry.size), name[:-4] + b"/", members)
        else:
            members.add(name, file.start + entry.offset_data, entry.size, entry.size)


def _target(entry: tarfile.TarInfo, name: bytes, folder: bytes) -> bytes:
    """Return what a link leads to: hard links say it from the archive's root, others from where they lie."""
    target = entry.linkname.encode("utf-8", "surrogateescape")
    return posixpath.normpath(posixpath.join(folder if entry.islnk() else posixpath.dirname(name), target))


def _entries(file: _Window, path: Path) -> Iterator[tarfile.TarInfo]:
    """Yield all members, and see that only zeros come after them: to tarfile a damaged header is the end, too."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        end = 0
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it keeps them all, typeshed does not know
            if entry.size < 0 or archive.offset <= end:
                raise UnsafeDataError(f"{path}: the header at byte {entry.offset} leads backwards: it is forged")
            end = archive.offset
            yield entry
        end = archive.offset
    file.seek(end)
    while block := file.read(_MAX_HEADER):
        if block.strip(b"\0"):
            raise InputError(
                f"{path}: no header of a member at byte {file.start + end}, and not the end: the archive is cut or "
                "damaged there, or joined of several: copy it again, or pack it anew"
            )


def _list_zip(file: BinaryIO, members: Members) -> None:
    members.is_zip = True
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        slashes = any("/" in entry.filename for entry in entries)
        for entry in entries:
            of_windows = "\\" in entry.filename and not (slashes and entry.create_system in _UNIX)
            written = entry.filename.replace("\\", "/") if of_windows else entry.filename
            name = _clean(written.encode("utf-8", "surrogateescape"), members.path)
            if written.endswith("/"):
                members.folders[name] = None
            elif (entry.external_attr >> 28) not in (0, 8):  # the kind of file in a Unix mode: not a regular one
                members.odd[_ODD] += 1
            else:
                deflated = entry.compress_type == zipfile.ZIP_DEFLATED
                if entry.flag_bits & 1 or not (deflated or entry.compress_type == zipfile.ZIP_STORED):
                    raise InputError(
                        f"{members.path}: {printable(name)} is encrypted or compressed by method "
                        f"{entry.compress_type}; make the zip with stored or deflated members"
                    )
                offset = stored_offset(file, entry.header_offset)
                members.add(name, offset, entry.compress_size, entry.file_size, deflated, entry.CRC)


def _clean(name: bytes, archive: Path) -> bytes:
    path = posixpath.normpath(name)
    if path.startswith((b"/", b"../")) or path == b"..":
        raise InputError(
            f"{archive}: an archive member is called {printable(name)}, outside of the archive; make the archive anew"
        )
    return path
