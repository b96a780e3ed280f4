"""What an image file says about itself, found without decoding where that is possible.

`probe` is called once for every image of a conversion. JPEG and PNG headers are therefore
walked here, in microseconds; every other format is opened and loaded by Pillow. A file that
ends too early is found in both ways.
"""

import re
import struct
from dataclasses import dataclass
from typing import TypeAlias

from shardwright.base.errors import InputError, UnsupportedImageError
from shardwright.base.images.pillow import (
    EXTENSIONS,
    LARGE_PIXELS,
    bits_per_channel,
    check_image,
    first_bytes,
    guarded,
    open_image,
)

__all__ = [
    "IMAGE_EXTENSIONS",
    "Buffer",
    "ImageInfo",
    "JpegHeader",
    "has_image_name",
    "image_warning",
    "is_deep_gray",
    "is_image_start",
    "is_png",
    "plain_jpeg_header",
    "probe",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

IMAGE_EXTENSIONS = tuple(dict.fromkeys(extension for extensions in EXTENSIONS.values() for extension in extensions))
_EXTENSIONS = tuple("jpg jpeg png ppm pgm pbm bmp tif tiff webp gif jp2".split())
_NAME_ENDS = frozenset(extension.encode() for extension in IMAGE_EXTENSIONS)
_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF, little-endian
    b"MM\0*",  # TIFF, big-endian
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000 file
    b"\xff\x4f\xff\x51",  # JPEG 2000 code stream
)
_NETPBM = re.compile(rb"P[1-6]\s[#0-9]")
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
CUT = "16 bits per channel: read with 8"  # more than 8, by ``round(v / 257)``; of JPEG 2000 the first 8
_COLOURS = ("RGB", "RGBA", "LA", "RGBX", "CMYK", "YCbCr")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = {  # by colour type and bits; these are Pillow's modes
    0: {1: "1", 2: "L", 4: "L", 8: "L", 16: "I;16"},
    2: {8: "RGB", 16: "RGB"},
    3: {1: "P", 2: "P", 4: "P", 8: "P"},
    4: {8: "LA", 16: "RGBA"},
    6: {8: "RGBA", 16: "RGBA"},
}
_PNG_ZIPPED = {b"iCCP", b"iTXt", b"zTXt"}


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
        What a user should know about this image, or "": one of a few texts, so that they can be counted.
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
    at: int  # where its first byte behind the length lies in the file
    scan: int  # components of the first scan
    complete: bool

    @property
    def common(self) -> bool:
        """Whether every JPEG decoder reads this kind."""
        return self.process <= 2 and self.bits == 8 and self.components in _JPEG_MODES


def probe(data: Buffer, *, load: bool = True) -> ImageInfo:
    """Return format, size and mode of an encoded image.

    Parameters
    ----------
    data : bytes
        The whole image file.
    load : bool
        Decode what is neither JPEG nor PNG, so that damage behind the header is found.

    Raises
    ------
    InputError
        If `data` is empty, ends too early or is no image.
    UnsupportedImageError
        If it is an image of a format or mode that is not read.
    LimitError
        If the header promises more than `MAX_PIXELS` pixels; nothing is decoded then.
    """
    data = bytes(data)  # bytes stay the same object
    return _probe_png(data) if is_png(data) else _probe_jpeg(data) or _probe_pillow(data, load)


def image_warning(data: bytes) -> str:
    """Return the warning of `probe`, without decoding anything; raises as `probe`."""
    if data[:2] == b"\xff\xd8" and len(data) < LARGE_PIXELS // 512:
        return ""  # each 8 x 8 pixels of a JPEG take a bit or more, so this one is not large
    return probe(data, load=False).warning


def is_deep_gray(data: bytes) -> bool:
    """Whether an image file holds gray values of 16 bits; nothing is decoded."""
    if data[:2] == b"\xff\xd8":
        return False
    try:
        return probe(data, load=False).mode.startswith("I;16")
    except InputError:  # told elsewhere
        return False


def is_png(data: bytes) -> bool:
    """Whether `data` begins as a PNG file does."""
    return data.startswith(_PNG_SIGNATURE)


def _info(extension: str, height: int, width: int, mode: str, warning: str = "") -> ImageInfo:
    check_image(height, width, mode)
    if height * width > LARGE_PIXELS and not warning:
        warning = f"large: more than {LARGE_PIXELS:,} pixels"
    return ImageInfo(extension, height, width, mode, warning)


# --- JPEG ---------------------------------------------------------------------------------


def plain_jpeg_header(data: Buffer) -> JpegHeader | None:
    """Return the frame header of a JPEG that every decoder turns into gray or RGB, else None.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    InputError
        If the file ends before its scan begins.
    LimitError
        If it has more pixels than are read.
    """
    header = _jpeg_header(data)
    if header is None or not header.common or header.components == 4:
        return None
    check_image(header.height, header.width, "RGB")
    return header


def _jpeg_header(data: Buffer) -> JpegHeader | None:
    """Return the frame header of a JPEG; None of other files, and where its markers are out of order."""
    if data[:2] != b"\xff\xd8":
        return None
    frame: tuple[int, int, int, int, int, int] | None = None
    at = 2
    try:
        while True:
            if data[at] != 0xFF:
                return None
            marker = data[at + 1]
            if marker == 0xFF:  # a fill byte
                at += 1
                continue
            if marker < 2 or 0xD0 <= marker <= 0xD9:
                return None  # these have no length; behind one a decoder looks for the next marker
            length = data[at + 2] << 8 | data[at + 3]
            if marker == 0xDA:
                scan = data[at + 4]
                break
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
                frame = (height, width, components, bits, marker - 0xC0, at + 4)
            at += 2 + length
    except (IndexError, struct.error):
        raise InputError(
            f"the JPEG is truncated: {first_bytes(bytes(data))}, and end before the pixels begin"
        ) from None
    if frame is None:
        return None
    return JpegHeader(*frame, scan=scan, complete=_has_end(data, at + length))


def _has_end(data: Buffer, start: int) -> bool:
    """Whether there is an end marker behind the start of the scan.

    Inside a scan 0xFF is always followed by 0 or a restart number, so it is the real one.
    Looked for from behind: bytes may follow it.
    """
    near = max(start, len(data) - 256)  # almost always there, and then the rest is not copied
    return bytes(data[near:]).rfind(b"\xff\xd9") >= 0 or bytes(data[start:]).rfind(b"\xff\xd9") >= 0


def _probe_jpeg(data: bytes) -> ImageInfo | None:
    header = _jpeg_header(data)
    if header is None:
        return None
    if header.bits != 8 and header.process <= 2:
        raise UnsupportedImageError(f"the JPEG has {header.bits} bits per sample; 8 are read")
    if not header.common or not header.height or not header.width:
        return None
    mode = _JPEG_MODES[header.components]
    info = _info("jpg", header.height, header.width, mode)
    if not header.complete:
        raise InputError(f"the JPEG is truncated: no end marker in its {len(data)} bytes")
    return info


# --- PNG ----------------------------------------------------------------------------------


def _probe_png(data: bytes) -> ImageInfo:
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise InputError(f"the PNG is damaged or truncated at its header: {first_bytes(data)}")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    mode = _PNG_MODES.get(colour, {}).get(bits, "")
    if not mode or not width or not height:
        raise InputError(f"the PNG is damaged: {height} x {width} pixels, {bits} bits, colour type {colour}")
    check_image(height, width, mode)
    chunks = _png_chunks(data)
    if not _PNG_ZIPPED.isdisjoint(chunks):
        open_image(data)  # compressed texts may be bombs: Pillow reads them within limits
    cut = CUT if bits == 16 and mode != "I;16" else ""
    return _info("png", height, width, mode, _animated(chunks.get(b"acTL", 1)) or cut)


def _png_chunks(data: bytes) -> dict[bytes, int]:
    """Return the chunk types up to IEND, with the number that each begins with: of acTL that of the frames."""
    chunks: dict[bytes, int] = {}
    at, end = 8, len(data)
    while at + 12 <= end:
        length, kind, number = struct.unpack_from(">I4sI", data, at)
        chunks[kind] = number
        at += 12 + length
        if kind == b"IEND" and b"IDAT" in chunks:
            return chunks
    raise InputError(f"the PNG is truncated: no pixels or no end chunk in its {end} bytes")


# --- everything else ----------------------------------------------------------------------


def _probe_pillow(data: bytes, load: bool) -> ImageInfo:
    with guarded(data), open_image(data) as image:
        cut = CUT if image.mode in _COLOURS and bits_per_channel(image) > 8 else ""
        if load:
            image.load()
        extension = EXTENSIONS[str(image.format)][0]
        # The second picture of an MPO file is only a preview.
        frames = 1 if extension == "jpg" else int(getattr(image, "n_frames", 1))
        return _info(extension, image.height, image.width, image.mode, _animated(frames) or cut)


def _animated(frames: int) -> str:
    return "animated: only the first frame is read" if frames > 1 else ""


# --- names and first bytes ----------------------------------------------------------------


def has_image_name(name: bytes) -> bool:
    """Tell whether a file's name ends as an image's does (`IMAGE_EXTENSIONS`, upper or lower case)."""
    return name.rpartition(b".")[2].lower() in _NAME_ENDS


def is_image_start(head: bytes) -> bool:
    """Tell whether a file that begins with `head` (16 bytes) is an image."""
    if head.startswith(_MAGIC):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":  # two letters are weak; a BMP has four reserved zeros too
        return head[6:10] == bytes(4)
    return _NETPBM.match(head) is not None
