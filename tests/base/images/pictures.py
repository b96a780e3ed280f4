"""Images that the tests of images make in memory: files of every kind, and PNGs made by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image


def noise(*shape, dtype=np.uint8):
    """Random pixels, the same in every run."""
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def photo(height=60, width=80):
    """A smooth colour image, which JPEG can hold well."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 3 % 256, x * 2 % 256, (x + y) % 256], axis=2).astype(np.uint8)


def saved(image, kind, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def pillow(data, mode=None):
    image = Image.open(io.BytesIO(data))
    return np.asarray(image if mode is None else image.convert(mode))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(height, width, *, bits=8, colour=0, extra=b"", pixels=b""):
    """A PNG made by hand, with whatever header."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def palette_image():
    image = Image.frombytes("P", (4, 3), bytes([0, 1, 2, 3] * 3))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    return image


SOURCES = {
    "jpg": (saved(photo(), "JPEG"), "RGB"),
    "jpg progressive": (saved(photo(), "JPEG", progressive=True), "RGB"),
    "jpg 4:4:4": (saved(photo(), "JPEG", subsampling=0), "RGB"),
    "jpg gray": (saved(noise(9, 7), "JPEG"), "L"),
    "jpg cmyk": (saved(Image.fromarray(photo()).convert("CMYK"), "JPEG"), "CMYK"),
    "png": (saved(noise(9, 7, 3), "PNG"), "RGB"),
    "png rgba": (saved(noise(9, 7, 4), "PNG"), "RGBA"),
    "png gray": (saved(noise(9, 7), "PNG"), "L"),
    "png 16 bit": (saved(noise(9, 7, dtype=np.uint16), "PNG"), "I;16"),
    "png palette": (saved(palette_image(), "PNG"), "P"),
    "png palette of 4 bit": (saved(palette_image(), "PNG", bits=4), "P"),
    "tif": (saved(noise(9, 7, 3), "TIFF", compression="tiff_lzw"), "RGB"),
    "tif 16 bit": (saved(noise(9, 7, dtype=np.uint16), "TIFF"), "I;16"),
    "tif cmyk": (saved(Image.fromarray(photo()).convert("CMYK"), "TIFF"), "CMYK"),
    "bmp": (saved(noise(9, 7, 3), "BMP"), "RGB"),
    "gif": (saved(palette_image(), "GIF"), "P"),
    "ppm": (saved(noise(9, 7, 3), "PPM"), "RGB"),
    "webp": (saved(noise(9, 7, 3), "WEBP", lossless=True), "RGB"),
    "webp rgba": (saved(noise(9, 7, 4), "WEBP", lossless=True), "RGBA"),
    "jp2": (saved(noise(64, 64, 3), "JPEG2000"), "RGB"),
}
every_source = pytest.mark.parametrize("name", SOURCES)
