"""Decode JPEGs into memory that is used again, and only as far down as a crop needs.

Fresh memory costs a large image a quarter of its decoding time, because the system hands it
out page by page. And most of the time of a JPEG goes into its entropy coding, which can only be
read from the top; so the rows below a crop need not be read at all. Both keep every pixel.
"""

import struct
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import simplejpeg

from shardwright.base.images.decode import Array, decode
from shardwright.base.images.jpeg import Decoder
from shardwright.base.images.probe import Buffer, JpegHeader, plain_jpeg_header

__all__ = ["crop_header", "decode_into", "decode_rows"]

Place: TypeAlias = Callable[[tuple[int, int, int]], npt.NDArray[np.uint8]]

# What libjpeg says, and only says, when an image ends before its data does.
_CUT = "extraneous bytes before marker"


def crop_header(data: Buffer) -> JpegHeader | None:
    """Return the header of a JPEG that `decode_into` and `decode_rows` take, else None."""
    header = plain_jpeg_header(data)
    return header if header and header.complete and header.height and header.width else None


def decode_into(data: Buffer, out: Array, *, decoder: Decoder = "auto") -> Array:
    """Decode a JPEG that has a `crop_header`, to RGB, or raise `InputError`."""
    fast = decoder == "fast"
    try:
        simplejpeg.decode_jpeg(data, "RGB", fastdct=fast, fastupsample=fast, buffer=out)
    except ValueError:
        return decode(data, "RGB")  # it knows what each kind of damage means
    return out


def decode_rows(
    data: Buffer, header: JpegHeader, stop: int, place: Place, *, shrink: int = 1, decoder: Decoder = "auto"
) -> Array:
    """Decode at least the rows above `stop` of a JPEG, to RGB, or raise `InputError`."""
    height = _rows_to_decode(data, header, stop)
    shape = (-(-height // shrink), -(-header.width // shrink), 3)
    out, fast = place(shape), decoder == "fast"
    part = data if height == header.height else _shortened(data, header, height)
    least = {"min_height": shape[0], "min_width": shape[1]} if shrink > 1 else {}
    try:
        simplejpeg.decode_jpeg(part, "RGB", fastdct=fast, fastupsample=fast, buffer=out, **least)
    except ValueError as error:
        if part is data or _CUT not in str(error):
            return decode(data, "RGB")[::shrink, ::shrink]  # it knows what each kind of damage means
    return out


def _rows_to_decode(data: Buffer, header: JpegHeader, stop: int) -> int:
    """Return the height to decode: whole blocks, and one row of blocks more.

    The blocks below take part in the chroma of the last row. Progressive files, and those with
    one scan per component, hold their pixels in several passes and are decoded whole.
    """
    if header.process > 1 or header.scan != header.components:
        return header.height
    sampling = data[header.at + 7 : header.at + 6 + 3 * header.components : 3]
    block = 8 * max(byte & 15 for byte in sampling)
    if not block:
        return header.height  # damage, of which the decoder tells
    return min(header.height, (-(-stop // block) + 1) * block)


def _shortened(data: Buffer, header: JpegHeader, height: int) -> bytearray:
    """Return the file with another height in its header."""
    part = bytearray(data)
    struct.pack_into(">H", part, header.at + 1, height)
    return part
