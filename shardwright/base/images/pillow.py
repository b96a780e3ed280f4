"""Opening images with Pillow, but strictly: few formats, bounded sizes, nothing truncated."""

import io
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from shardwright.base.errors import InputError, LimitError, UnsupportedImageError
from shardwright.base.workers import ForkLock

__all__ = [
    "EXTENSIONS",
    "LARGE_PIXELS",
    "MAX_PIXELS",
    "bits_per_channel",
    "check_image",
    "first_bytes",
    "guarded",
    "open_image",
    "upright",
]

MAX_PIXELS = 178_956_970
"""Images with more pixels than this are refused before anything is decoded."""

LARGE_PIXELS = MAX_PIXELS // 2
"""Images with more pixels than this are read with a warning, as Pillow does."""

EXTENSIONS = {
    "JPEG": ("jpg", "jpeg"),
    "MPO": ("jpg",),  # a JPEG with a second one behind it
    "PNG": ("png",),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "BMP": ("bmp",),
    "TIFF": ("tif", "tiff"),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "JPEG2000": ("jp2",),
}
"""The formats that are read, by Pillow's names, with the file extensions of each: first the one that is given."""

_FORMATS = tuple(sorted(EXTENSIONS.keys() - {"MPO"}))  # Pillow opens MPO by way of JPEG
_REFUSED_MODES = {"F": "float", "I": "more than 16-bit (or 16-bit PGM)", "LAB": "CIELAB"}
_OTHER_FORMATS = {
    b"%!PS": "EPS",
    b"%PDF": "PDF",
    b"8BPS": "PSD",
    b"<svg": "SVG",
    b"DDS ": "DDS",
    b"GRIB": "GRIB",
    b"SIMPLE": "FITS",
    b"\x00\x00\x01\x00": "ICO",
    b"\x89HDF": "HDF5",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"icns": "ICNS",
    b"qoif": "QOI",
}

# Pillow's plug-ins fail in many ways on damaged files. `Warning` is here because Pillow
# warns of some damage, and a warning is an exception where the user wants it so.
_FAILURES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)


def first_bytes(data: bytes) -> str:
    """Return the beginning of `data` for an error message."""
    return f"{len(data)} bytes that begin with {data[:16]!r}" if data else "0 bytes"


def check_image(height: int, width: int, mode: str) -> None:
    """Refuse an image that is too large or of a mode that is not read."""
    if height * width > MAX_PIXELS:
        raise LimitError(
            f"the image has {height} x {width} = {height * width:,} pixels, more than the "
            f"{MAX_PIXELS:,} that are read: make it smaller or leave it out"
        )
    if mode in _REFUSED_MODES:
        raise UnsupportedImageError(
            f"the image holds {_REFUSED_MODES[mode]} values (mode {mode!r}), which fit no mode "
            "that is read: convert it, or store it as an array"
        )


def open_image(data: bytes, *, load: bool = False, turn: bool = False, rounded: bool = False) -> Image.Image:
    """Open an encoded image with Pillow, but only if it is of a format that is read.

    `turn`: as EXIF asks. `rounded`: 16 bits per channel become 8 by rounding, where Pillow would cut them.
    """
    with guarded(data):
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        check_image(image.height, image.width, image.mode)
        low = _low_bytes(image, data) if load and rounded else None
        if load:
            image.load()
        if low is not None:
            image = _joined(image, low)
        return upright(image) if turn else image


def _low_bytes(image: Image.Image, data: bytes) -> Image.Image | None:
    """Return the image of the low bytes of colours with 16 bits, of which Pillow reads the high ones.

    They are what it reads if it is told the other order of bytes.
    """
    tiles = getattr(image, "tile", [])
    if not tiles or not all(_order_of(tile) in _SWAPPED for tile in tiles):
        return None
    low = Image.open(io.BytesIO(data), formats=_FORMATS)
    low.tile = [_swapped(tile) for tile in low.tile]
    try:
        low.load()
    except ValueError:  # there is no reader for that order: they stay cut
        return None
    return low


# "N" is the machine's order.
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def _order_of(tile: Any) -> str:
    raw = tile.args[0] if isinstance(tile.args, tuple) else tile.args
    head, _, order = str(raw).rpartition(";16")
    return order if head in ("RGB", "RGBA", "RGBX", "LA") else ""


def _swapped(tile: Any) -> Any:
    raw, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    other = f"{raw[:-1]}{_SWAPPED[raw[-1]]}"
    return type(tile)(*tile[:3], (other, *rest) if isinstance(tile.args, tuple) else other)


def _joined(high: Image.Image, low: Image.Image) -> Image.Image:
    """Return ``round(v / 257)`` of values of 16 bits, given their bytes."""
    values = np.asarray(high).astype(np.uint32) * 256 + np.asarray(low)
    joined = Image.fromarray(((values + 128) // 257).astype(np.uint8), high.mode)
    joined.info = high.info
    return joined


def bits_per_channel(image: Image.Image) -> int:
    """Return how many bits a colour has in the file that Pillow has opened, as far as it tells."""
    if image.format == "TIFF":
        return int(max(getattr(image, "tag_v2", {}).get(258, (8,))))
    tiles = getattr(image, "tile", [])
    if image.format == "PPM" and tiles and isinstance(tiles[0].args, tuple):
        top = tiles[0].args[-1]
        return int(top).bit_length() if isinstance(top, int) and tiles[0].codec_name.startswith("ppm") else 8
    return _bits_of_jpeg2000(image) if image.format == "JPEG2000" else 8


def _bits_of_jpeg2000(image: Image.Image) -> int:
    """Return the largest precision in the code stream's SIZ marker, which comes first in it."""
    file = getattr(image, "fp", None)
    if file is None:
        return 8
    file.seek(0)
    head = file.read(2**16)
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(head) < at + 44:
        return 8
    count = int.from_bytes(head[at + 40 : at + 42], "big")
    return max((byte & 0x7F for byte in head[at + 42 : at + 42 + 3 * count : 3]), default=7) + 1


def upright(image: Image.Image) -> Image.Image:
    """Return a PIL image turned as its EXIF orientation asks."""
    return ImageOps.exif_transpose(image)


@contextmanager
def guarded(data: bytes) -> Iterator[None]:
    """Have Pillow refuse truncated images in here, and turn its errors into ours."""
    try:
        with _strict:
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"the image is too large: {error}") from error
    except InputError:
        raise
    except UnidentifiedImageError:
        raise _not_read(data) from None
    except _FAILURES as error:
        kind = LimitError if "MAX_TEXT" in str(error) else InputError  # a bomb in a PNG text
        raise kind(
            f"the image is damaged or truncated ({type(error).__name__}: {error}): {first_bytes(data)}"
        ) from error


def _not_read(data: bytes) -> InputError:
    """Return the error for data that is of none of the formats."""
    read = ", ".join(_FORMATS)
    if data[4:8] == b"ftyp":
        return UnsupportedImageError(f"files of type {data[8:12]!r} are not read, only {read}")
    for start, name in _OTHER_FORMATS.items():
        if data.startswith(start):
            return UnsupportedImageError(f"{name} files are not read, only {read}")
    return InputError(f"not an image, or damaged: {first_bytes(data)}; {read} are read")


class _StrictPillow:
    """Within it Pillow refuses truncated images, although its switch for that is global.

    Where the user has set the switch, it is off while any thread is in here. The lock is held
    for moments only, so that threads decode side by side.
    """

    def __init__(self) -> None:
        self._wish: bool = False
        self._process, self._lock, self._inside = os.getpid(), ForkLock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._process != os.getpid():  # the threads that were inside are not here
                self._process, self._inside = os.getpid(), 0
            if not self._inside:
                self._wish = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._wish


_strict = _StrictPillow()
