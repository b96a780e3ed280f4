"""Files that hold arrays: .npy, .npz, IDX (also gzipped) and HDF5.

A file's header is looked at and held against the file's size before a value is
read. Pickled objects are refused, never loaded. Values are read by position,
so the array itself may be larger than memory.
"""

import io
import math
import os
import re
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import ConfigError, InputError, ShardwrightError, UnsafeDataError
from shardwright.base.storage.inflate import GZIP, RAW, Bytes, FileBytes, InflatedBytes, file_bytes, head_of
from shardwright.base.storage.npy import MAX_HEADER, read_npy_header
from shardwright.base.storage.strict_json import parse_json
from shardwright.base.storage.zip_members import stored_offset
from shardwright.base.values.array_names import partners
from shardwright.base.values.rows import PackedRows, Rows

__all__ = ["arrays_beside", "configured_classes", "member_names", "open_rows"]

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_IDX_TYPES = {0x08: "|u1", 0x09: "|i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def _kind(file: FileBytes) -> str | None:
    """Tell by its first bytes which kind of file this is."""
    head = head_of(file, 8)
    for magic, kind in ((b"\x93NUMPY", "npy"), (b"PK\x03\x04", "npz"), (b"PK\x05\x06", "npz"), (HDF5_MAGIC, "h5")):
        if head.startswith(magic):
            return kind
    if head and file.path.lower().endswith((".h5", ".hdf5")):
        return "h5"  # a block of the user's own may come before HDF5's first bytes
    if _is_idx(head):
        return "idx"
    if not head.startswith(b"\x1f\x8b\x08"):
        return None
    try:
        found = _is_idx(head_of(InflatedBytes(file, GZIP), 4))
    except InputError:  # told when it is opened
        found = "idx" in os.path.basename(file.path)
    return "idx.gz" if found else None


def _is_idx(head: bytes) -> bool:
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and 1 <= head[3] <= 8


def open_rows(path: str | os.PathLike[str], member: str | None = None) -> Rows:
    """Open an array on disk.

    Parameters
    ----------
    path : path
        An .npy, .npz, IDX, gzipped IDX or HDF5 file, told by its first bytes.
    member : str, optional
        Which array of an .npz or HDF5 file; needed if there are several.

    Raises
    ------
    InputError
        If it is another kind of file, cut, or holds no plain numbers.
    UnsafeDataError
        If it holds Python objects, or asks for data from outside of itself.
    ConfigError
        If `member` is missing or unknown; the message lists what there is.
    """
    file = file_bytes(path)
    kind = _kind(file)
    if kind is None:
        raise InputError(_unknown(file))
    if kind == "npz":
        entries = _zip_members(file)
        return _open_npz(file, entries, _chosen(file, member, sorted(entries)))
    if kind == "h5":
        rows: Rows = _hdf5().open_hdf5(file, _chosen(file, member, _names(file, kind)))
        return rows
    if member is not None:
        raise ConfigError(f"{file.shown} holds one array: leave member={member!r} out")
    return _open_npy(file, file.size, file.shown) if kind == "npy" else _open_idx(file, gzipped=kind == "idx.gz")


def member_names(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the arrays of an .npz or HDF5 file; none for a file of one array."""
    file = file_bytes(path)
    return _names(file, _kind(file))


def arrays_beside(path: Path) -> tuple[tuple[Path, ...], dict[str, Rows | ShardwrightError]]:
    """Return the arrays of a file and of those beside it that belong to it, and these files, the file first.

    Raises
    ------
    InputError
        If it is no file of arrays, or damaged as a whole.
    """
    file = file_bytes(path)
    if _kind(file) == "npz":
        entries = _zip_members(file)
        return (path,), {name: _tried(_open_npz, file, entries, name) for name in sorted(entries)}
    files = _together(path)
    return tuple(files.values()), {name: _tried(open_rows, found) for name, found in files.items()}


def _tried(work: Callable[..., Rows], *arguments: Any) -> Rows | ShardwrightError:
    try:
        return work(*arguments)
    except ShardwrightError as error:
        return error


def _together(path: Path) -> dict[str, Path]:
    """Return what is told by its name to files, of the file and of those beside it whose names go with its own."""
    kind = re.fullmatch(r"(.+?)([-.]idx)\d([-.].*|)|(.+)(\.npy|\.idx|\.idx\.gz)", path.name, re.IGNORECASE)
    if kind is None:
        return {path.name: path}
    stem, axes, end, own, suffix = kind.groups()

    def files_of(name: str) -> list[Path]:
        if own is not None:
            return [path.with_name(f"{name}{suffix}")]
        return [path.with_name(f"{name}{axes}{number}{end}") for number in (1, 3, 2, 4)]

    def file_of(name: str) -> Path | None:
        return path if name == (own or stem) else next(filter(Path.is_file, files_of(name)), None)

    names = partners(own or stem, lambda name: file_of(name) is not None).values()
    return {name: file for name in [own or stem, *names] if (file := file_of(name))}


def configured_classes(files: Sequence[Path], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return name to class names of a pair of arrays that a ``config_pytorch.json`` beside it describes."""
    images, *others = files
    for path in sorted(images.parent.glob("*config_pytorch.json")):
        try:
            config = parse_json(path.read_bytes(), str(path))
            if config["images"] == images.name and config["labels"] in [other.name for other in others]:
                label = names[1 + [other.name for other in others].index(config["labels"])]
                classes = config["classes"]
                return {label: tuple(map(str, classes))} if classes else {}
        except (OSError, ValueError, KeyError, TypeError):  # somebody else's file of that name
            continue
    return {}


def _hdf5() -> Any:
    """Import and return what reads HDF5 files; nobody else needs h5py."""
    try:
        from shardwright.hdf5 import source
    except ModuleNotFoundError as error:
        raise ConfigError(f"HDF5 files are read with {error.name}: pip install {error.name}") from error
    return source


def _names(file: FileBytes, kind: str | None) -> list[str]:
    if kind == "h5":
        return list(_hdf5().hdf5_names(file))
    return sorted(_zip_members(file)) if kind == "npz" else []


def _unknown(file: FileBytes) -> str:
    if not file.size:
        return f"{file.shown} is empty: make or copy it again"
    return (
        f"{file.shown} is no .npy, .npz, IDX or HDF5 file (it begins with {head_of(file, 8)!r}); values without a "
        "header are given as numpy.memmap(path, dtype=..., mode='r', shape=...)"
    )


def _chosen(file: FileBytes, member: str | None, names: list[str]) -> str:
    """Return the one array that is meant."""
    if member is None and len(names) == 1:
        return names[0]
    if member in names:
        return str(member)
    there = ", ".join(map(repr, names)) or "no array"
    asked = "several arrays" if member is None else f"no array {member!r}"
    raise ConfigError(f"{file.shown} has {asked}; choose with member=, it holds {there}")


def _open_npy(source: Bytes, size: int, name: str) -> PackedRows:
    """Read the header of an .npy file (or zip member) of `size` bytes."""
    head = io.BytesIO(head_of(source, MAX_HEADER))
    shape, fortran, dtype = read_npy_header(head, name)
    _check_size(name, shape, dtype, size - head.tell())
    return PackedRows(name, shape, dtype, source, head.tell(), fortran)


def _check_size(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], found: int) -> None:
    wanted = math.prod(shape) * dtype.itemsize
    if found != wanted:
        how = "cut: make or copy it again" if found < wanted else "not what its header says: it may hold several arrays"
        raise InputError(f"{name} has {found} bytes of values, {shape} {dtype} takes {wanted}; the file is {how}")


def _open_idx(file: FileBytes, *, gzipped: bool) -> PackedRows:
    source: Bytes = InflatedBytes(file, GZIP) if gzipped else file
    head = head_of(source, 4 + 8 * 4)
    if not _is_idx(head) or len(head) < 4 + 4 * head[3]:
        raise InputError(f"{file.shown} ends within its IDX header: make or copy it again")
    dtype, axes = np.dtype(_IDX_TYPES[head[2]]), head[3]
    shape = struct.unpack_from(f">{axes}I", head, 4)
    offset = 4 + 4 * axes
    if isinstance(source, InflatedBytes):
        source.check(offset + math.prod(shape) * dtype.itemsize)
    else:
        _check_size(file.shown, shape, dtype, file.size - offset)
    return PackedRows(file.shown, shape, dtype, source, offset)


def _zip_members(file: FileBytes) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file.path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise InputError(f"{file.shown} is cut or damaged ({error}): make or copy it again") from error
    names = {entry.filename.removesuffix(".npy"): entry for entry in entries}
    if len(names) != len(entries):
        raise UnsafeDataError(f"{file.shown} holds two members of one name: write it again with numpy.savez")
    return names


def _open_npz(file: FileBytes, entries: Mapping[str, zipfile.ZipInfo], member: str) -> PackedRows:
    entry = entries[member]
    name = f"{file.shown}[{member}]"
    part = _zip_part(file, entry, name)
    if entry.compress_type == zipfile.ZIP_STORED:
        return _open_npy(part, part.size, name)
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise InputError(f"{name} is compressed in another way than numpy does it: write it again with numpy.savez")
    stream = InflatedBytes(part, RAW)
    rows = _open_npy(stream, entry.file_size, name)
    stream.check(entry.file_size, entry.CRC)
    return rows


def _zip_part(file: FileBytes, entry: zipfile.ZipInfo, name: str) -> FileBytes:
    """Return where a member's data lies: its local header has a length of its own."""
    try:
        with open(file.path, "rb") as zipped:
            start = stored_offset(zipped, entry.header_offset)
    except zipfile.BadZipFile as error:
        raise InputError(f"{name} is cut or damaged ({error}): write it again with numpy.savez") from error
    if entry.flag_bits & 1:
        raise InputError(f"{name} is encrypted: write it again with numpy.savez")
    if start + entry.compress_size > file.size:
        raise InputError(f"{name} ends at byte {file.size} of {start + entry.compress_size}: make or copy it again")
    return file.part(start, entry.compress_size)
