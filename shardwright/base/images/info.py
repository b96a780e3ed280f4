"""What a JPEG says beside its pixels: the `info` that Pillow gives, and whether EXIF asks to turn it.

Most JPEGs hold nothing but a JFIF header, which is read here in microseconds; the others are
opened (not decoded) by Pillow, whose EXIF, colour profiles and resolutions these are.
"""

import contextlib
import struct
from typing import Any, TypeAlias

from shardwright.base.errors import InputError
from shardwright.base.images.pillow import open_image

__all__ = ["KEPT", "jpeg_info", "may_be_turned"]

Info: TypeAlias = dict[str | tuple[int, int], Any]

KEPT = ("exif", "icc_profile", "dpi", "xmp")  # what another mode does not change
_ORIENTATION = 0x0112
_NO_INFO = (0xC0, 0xC1, 0xC4, 0xDB, 0xDD)  # frame, Huffman and quantization tables, restart interval


def jpeg_info(data: bytes) -> Info:
    """Return `Image.info` of a JPEG as Pillow gives it; nothing where Pillow cannot open it."""
    info = _plain_info(data)
    if info is None:
        info = {}
        with contextlib.suppress(InputError):
            info.update(open_image(data).info)
    return info


def may_be_turned(data: bytes) -> bool:
    """Whether EXIF asks to turn an image; of other files than JPEGs only Pillow can say that, so yes."""
    if data[:2] != b"\xff\xd8":
        return True
    return _plain_info(data) is None and open_image(data).getexif().get(_ORIENTATION, 1) in range(2, 9)


def _plain_info(data: bytes) -> Info | None:
    """Return the info of a JPEG that holds nothing but a JFIF header; ``None`` of any other file."""
    info: Info = {}
    at = 2
    try:
        if data[2:4] == b"\xff\xe0" and data[6:10] == b"JFIF":
            at, info = _jfif(data)
        while data[at] == 0xFF and data[at + 1] != 0xDA:
            if data[at + 1] == 0xC2:
                info |= {"progressive": 1, "progression": 1}
            elif data[at + 1] not in _NO_INFO:
                return None
            at += 2 + (data[at + 2] << 8 | data[at + 3])
        return info if data[at] == 0xFF else None
    except (IndexError, struct.error):
        return None


def _jfif(data: bytes) -> tuple[int, Info]:
    """Return where a JFIF header ends, and what it says."""
    length, version, unit, *density = struct.unpack_from(">H5xHBHH", data, 4)
    if length < 14:
        raise IndexError
    info: Info = {
        "jfif": version,
        "jfif_version": divmod(version, 256),
        "jfif_unit": unit,
        "jfif_density": tuple(density),
    }
    if unit in (1, 2):  # per inch, per centimetre
        info["dpi"] = tuple(density) if unit == 1 else tuple(d * 2.54 for d in density)
    return 4 + length, info
