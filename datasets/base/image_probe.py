"""What an image file says about itself, found without decoding where that is possible.

`probe` is called once for every image of a conversion. JPEG and PNG headers are therefore
walked here, in microseconds; every other format is opened and loaded by Pillow, restricted
to a short list of formats. A file that ends too early is found in both ways.
"""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageFile, UnidentifiedImageError

from datasets.base.errors import InputError, LimitError, UnsupportedImageError

__all__ = [
    "EXTENSIONS",
    "MAX_PIXELS",
    "Buffer",
    "ImageInfo",
    "JpegHeader",
    "as_bytes",
    "first_bytes",
    "jpeg_header",
    "open_image",
    "probe",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

MAX_PIXELS = 178_956_970
"""Images with more pixels than this are refused before anything is decoded."""

EXTENSIONS = {
    "BMP": "bmp",
    "GIF": "gif",
    "JPEG": "jpg",
    "JPEG2000": "jp2",
    "MPO": "jpg",
    "PNG": "png",
    "PPM": "ppm",
    "TIFF": "tif",
    "WEBP": "webp",
}
"""The formats that are read, by Pillow's names, with the file extension of each."""

_PILLOW_FORMATS = tuple(sorted(EXTENSIONS.keys() - {"MPO"}))  # MPO is opened by way of JPEG
_LARGE_PIXELS = MAX_PIXELS // 2  # from here on Pillow warns, and so does `probe`
_REFUSED_MODES = {"F": "32-bit float", "I": "32-bit integer", "LAB": "CIELAB"}
_OTHER_FORMATS = {
    b"%!PS": "EPS",
    b"%PDF": "PDF",
    b"\x00\x00\x01\x00": "ICO",
    b"\x89HDF": "HDF5",
    b"8BPS": "PSD",
    b"DDS ": "DDS",
    b"GRIB": "GRIB",
    b"SIMPLE": "FITS",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"<svg": "SVG",
    b"icns": "ICNS",
    b"qoif": "QOI",
}
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_PNG_ZIPPED = {b"iCCP", b"iTXt", b"zTXt"}

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


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of an image file says.

    Parameters
    ----------
    extension : str
        The file extension that fits the content, without a dot: "jpg", "png", ...
    height, width : int
        In pixels, as stored: a rotation asked for by EXIF is not applied.
    mode : str
        Pillow's mode of the image: "L", "RGB", "P", "I;16", ...
    warning : str
        What a user should know about this image, or "".
    """

    extension: str
    height: int
    width: int
    mode: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """The frame header of a JPEG file, and whether its end was found."""

    height: int
    width: int
    components: int
    bits: int
    process: int  # the SOF number: 0 and 1 sequential, 2 progressive, others are rare
    complete: bool

    @property
    def common(self) -> bool:
        """Whether every JPEG decoder reads this kind."""
        return self.process <= 2 and self.bits == 8 and self.components in _JPEG_MODES


def probe(data: Buffer) -> ImageInfo:
    """Return format, size and mode of an encoded image.

    Parameters
    ----------
    data : bytes
        The whole image file.

    Raises
    ------
    InputError
        If `data` is empty, ends too early or is no image.
    UnsupportedImageError
        If it is an image of a format or mode that is not read.
    LimitError
        If the header promises more than `MAX_PIXELS` pixels; nothing is decoded then.
    """
    data = as_bytes(data)
    if data.startswith(b"\xff\xd8"):
        info = _probe_jpeg(data)
    elif data.startswith(_PNG_SIGNATURE):
        info = _probe_png(data)
    else:
        info = None
    return info or _probe_pillow(data)


def as_bytes(data: Buffer) -> bytes:
    """Return `data` as bytes; only what is not bytes already is copied."""
    return data if isinstance(data, bytes) else bytes(data)


def first_bytes(data: bytes) -> str:
    """Return the beginning of `data` for an error message."""
    return f"{len(data)} bytes that begin with {data[:16]!r}" if data else "0 bytes"


def _checked(extension: str, height: int, width: int, mode: str, warning: str = "") -> ImageInfo:
    pixels = height * width
    if pixels > MAX_PIXELS:
        raise LimitError(
            f"the image has {height} x {width} = {pixels:,} pixels, more than the "
            f"{MAX_PIXELS:,} that are read: make it smaller or leave it out"
        )
    if mode in _REFUSED_MODES:
        raise UnsupportedImageError(
            f"the image holds {_REFUSED_MODES[mode]} values (mode {mode!r}), which no 8-bit or "
            "16-bit mode can hold: convert it, or store it as an array"
        )
    if pixels > _LARGE_PIXELS and not warning:
        warning = f"large: {height} x {width} = {pixels:,} pixels"
    return ImageInfo(extension, height, width, mode, warning)


# --- JPEG ---------------------------------------------------------------------------------


def jpeg_header(data: bytes) -> JpegHeader | None:
    """Return the frame header of a JPEG file, or None where its markers are out of order.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    InputError
        If the file ends before its scan begins.
    """
    frame: tuple[int, int, int, int, int] | None = None
    at = 2
    try:
        while True:
            if data[at] != 0xFF:
                return None
            marker = data[at + 1]
            if marker == 0xFF:  # a fill byte
                at += 1
                continue
            length = data[at + 2] << 8 | data[at + 3]
            if marker == 0xDA:
                break
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
                frame = (height, width, components, bits, marker - 0xC0)
            at += 2 + length
    except (IndexError, struct.error):
        raise InputError(
            f"the JPEG is truncated: {first_bytes(data)}, and end before the pixels begin"
        ) from None
    if frame is None:
        return None
    # Inside a scan 0xFF is always followed by 0 or a restart number, so an end marker behind
    # the start of the scan is the real one. Looked for from behind: bytes may follow it.
    return JpegHeader(*frame, complete=data.rfind(b"\xff\xd9", at + length) >= 0)


def _probe_jpeg(data: bytes) -> ImageInfo | None:
    header = jpeg_header(data)
    if header is None:
        return None
    if header.bits != 8 and header.process <= 2:
        raise UnsupportedImageError(f"the JPEG has {header.bits} bits per sample; 8 are read")
    if not header.common or not header.height or not header.width:
        return None
    mode = _JPEG_MODES[header.components]
    info = _checked("jpg", header.height, header.width, mode)
    if not header.complete:
        raise InputError(f"the JPEG is truncated: no end marker in its {len(data)} bytes")
    return info


# --- PNG ----------------------------------------------------------------------------------


def _probe_png(data: bytes) -> ImageInfo:
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise InputError(f"the PNG is damaged or truncated at its header: {first_bytes(data)}")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    chunks = _png_chunks(data)
    mode = _png_mode(bits, colour)
    if not mode or not width or not height or b"IDAT" not in chunks:
        raise InputError(
            f"the PNG is damaged: {height} x {width} pixels, {bits} bits, colour type {colour}"
        )
    frames = chunks.get(b"acTL", 1)
    info = _checked("png", height, width, mode, _animated(frames))
    if not _PNG_ZIPPED.isdisjoint(chunks):
        open_image(data)  # compressed texts may be bombs: Pillow reads them within limits
    return info


def _png_mode(bits: int, colour: int) -> str:
    if colour == 0 and bits in (1, 16):
        return "1" if bits == 1 else "I;16"
    return _PNG_MODES.get(colour, "")


def _png_chunks(data: bytes) -> dict[bytes, int]:
    """Return the chunk types up to IEND; the value of acTL is the number of frames."""
    chunks: dict[bytes, int] = {}
    at, end = 8, len(data)
    while at + 12 <= end:
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        chunks[kind] = int.from_bytes(data[at + 8 : at + 12], "big") if kind == b"acTL" else 1
        at += 12 + length
        if kind == b"IEND":
            return chunks
    raise InputError(f"the PNG is truncated: no end chunk in its {end} bytes")


# --- everything else ----------------------------------------------------------------------


def _animated(frames: int, kind: str = "animated: only the first of {} frames is read") -> str:
    return kind.format(frames) if frames > 1 else ""


def _probe_pillow(data: bytes) -> ImageInfo:
    with open_image(data, load=True) as image:
        extension = EXTENSIONS[str(image.format)]
        warning = ""
        if extension != "jpg":  # the second picture of an MPO file is only a preview
            warning = _animated(int(getattr(image, "n_frames", 1)))
        return _checked(extension, image.height, image.width, image.mode, warning)


def open_image(data: bytes, *, load: bool = False) -> Image.Image:
    """Open an encoded image with Pillow, but only if it is of a format that is read.

    Parameters
    ----------
    data : bytes
        The whole image file.
    load : bool
        Decode the pixels now. Truncated data is an error whatever
        ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` says.

    Raises
    ------
    InputError
        If `data` is empty, damaged, truncated or no image.
    UnsupportedImageError
        If it is an image of a format or mode that is not read.
    LimitError
        If it has more than `MAX_PIXELS` pixels.
    """
    try:
        with _strict_pillow():
            image = Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS)
            _checked("", image.height, image.width, image.mode)
            if load:
                image.load()
            return image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"the image is too large: {error}") from error
    except InputError:
        raise
    except UnidentifiedImageError:
        raise _not_read(data) from None
    except _FAILURES as error:
        kind = LimitError if "MAX_TEXT" in str(error) else InputError
        raise kind(
            f"the image is damaged or truncated ({type(error).__name__}: {error}): "
            f"{first_bytes(data)}"
        ) from error


def _not_read(data: bytes) -> InputError:
    """Return the error for data that is of none of the formats."""
    read = ", ".join(_PILLOW_FORMATS)
    if data[4:8] == b"ftyp":
        return UnsupportedImageError(f"a file of type {data[8:12]!r} is not read, only {read}")
    for start, name in _OTHER_FORMATS.items():
        if data.startswith(start):
            return UnsupportedImageError(f"{name} files are not read, only {read}")
    return InputError(f"not an image, or damaged: {first_bytes(data)} (read are {read})")


_lock = threading.Lock()
_strict_users = 0
_wish_of_user = False


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Have Pillow refuse truncated images, although its switch for that is global.

    Where the user has set the switch it is turned off while any thread is in here. The lock is
    held for moments only, so that threads decode side by side.
    """
    global _strict_users, _wish_of_user
    if not ImageFile.LOAD_TRUNCATED_IMAGES and not _strict_users:
        yield
        return
    with _lock:
        if not _strict_users:
            _wish_of_user = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        _strict_users += 1
    try:
        yield
    finally:
        with _lock:
            _strict_users -= 1
            if not _strict_users:
                ImageFile.LOAD_TRUNCATED_IMAGES = _wish_of_user
