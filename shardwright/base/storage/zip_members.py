"""Where the bytes of a zip's member begin: only the local header before them tells."""

import os
import struct
import zipfile
from typing import BinaryIO

__all__ = ["stored_offset"]

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field


def stored_offset(file: BinaryIO, header_offset: int) -> int:
    """Return where the bytes of a member begin, of which the zip's directory names the header."""
    size = file.seek(0, os.SEEK_END)
    if 0 <= header_offset <= size - _LOCAL_HEADER.size:
        file.seek(header_offset)
        signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if signature == b"PK\x03\x04":
            return int(header_offset + _LOCAL_HEADER.size + name + extra)
    raise zipfile.BadZipFile(f"no header of a member at byte {header_offset}")
