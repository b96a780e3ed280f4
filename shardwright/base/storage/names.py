"""Names of files: shown, judged, and looked at with care before the file is read."""

import os
import re
import stat

from shardwright.base.errors import InputError

__all__ = ["READ_FLAGS", "checked_status", "is_safe_name", "printable", "read_start", "unreadable"]

_SAFE_NAME = re.compile(r"[^./\\:\0][^/\\:\0]*")
# O_NONBLOCK: a FIFO put in a file's place after the scan must not hang a worker.
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_EFFECTIVE_IDS = os.access in os.supports_effective_ids


# Folders that systems leave and no dot hides: archives of macOS, Synology, QNAP, Windows, file systems.
_OF_SYSTEMS = frozenset((
    b"__MACOSX", b"@eaDir", b"#recycle", b"#snapshot", b"@Recycle", b"@Recently-Snapshot", b"$RECYCLE.BIN", b"RECYCLER",
    b"System Volume Information", b"Network Trash Folder", b"TheVolumeSettingsFolder", b"lost+found", b"__pycache__",
))  # fmt: skip


def is_of_system(name: bytes) -> bool:
    """Whether a folder is one that a system made, not the user: it holds no samples."""
    return name in _OF_SYSTEMS


def printable(name: bytes) -> str:
    r"""Return `name` as valid UTF-8; bytes that are not become ``\xff``."""
    return name.decode("utf-8", "backslashreplace")


def is_safe_name(name: str) -> bool:
    """Whether a name is that of a file right in its folder, and shows as what it is."""
    return bool(_SAFE_NAME.fullmatch(name)) and name.isprintable() and len(name.encode("utf-8", "replace")) <= 255


def read_start(path: bytes) -> bytes:
    """Return the first bytes of a file, as many as `is_image_start` looks at."""
    handle = os.open(path, READ_FLAGS)
    try:
        return os.read(handle, 16)
    finally:
        os.close(handle)


def unreadable(path: bytes, reason: str) -> InputError:
    """Return the error for a file or folder that cannot be read."""
    return InputError(
        f"{printable(path)} cannot be read: {reason}; mend it, move it away, or give it a name that begins with a dot"
    )


def checked_status(path: bytes, entry: "os.DirEntry[bytes] | None" = None) -> os.stat_result:
    """Return what stat says of a file or folder, or of what a link leads to, or raise `InputError`."""
    try:
        status = os.stat(path) if entry is None else entry.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.islink(path):
            raise InputError(f"{printable(path)} cannot be read: {error.strerror}; check the path") from error
        link = f"a link to {printable(os.readlink(path))}, " if os.path.islink(path) else ""
        raise unreadable(path, f"{link}{error.strerror}") from error
    mode = status.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise unreadable(path, "it is a FIFO, socket or device")
    # The call is spared where everybody may read, as nearly always.
    if mode & 0o444 != 0o444 and not os.access(path, os.R_OK, effective_ids=_EFFECTIVE_IDS):
        raise unreadable(path, "permission denied")
    return status
