"""Images that would be too large in memory are refused by their headers."""

import struct
import zlib

import pytest
from PIL import Image

from shardwright.base.errors import LimitError
from shardwright.base.images import MAX_PIXELS, decode, decode_pil, probe
from tests.base.images.pictures import SOURCES, chunk, noise, png, saved


@pytest.mark.parametrize("colour", [0, 2])
def test_a_bomb_is_refused_by_its_header(colour):
    """Faults 9 and 124: here without any pixels, so nothing can have been decoded."""
    for function in (probe, decode, decode_pil):
        with pytest.raises(LimitError, match=r"13500 x 13500 = 182,250,000 pixels"):
            function(png(13500, 13500, colour=colour))


def test_bombs_of_other_formats_are_refused(monkeypatch):
    """Faults 9 and 124: also where the user has switched off the limit of Pillow."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    bmp = bytearray(saved(noise(9, 7, 3), "BMP"))
    bmp[18:26] = struct.pack("<II", 20000, 20000)
    jpeg = bytearray(SOURCES["jpg"][0])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 20000, 20000)
    for data in (bytes(bmp), bytes(jpeg)):
        for function in (probe, decode, decode_pil):
            with pytest.raises(LimitError, match="20000 x 20000"):
                function(data)


def test_a_limit_of_pillow_is_a_limit_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(LimitError):
        decode(SOURCES["bmp"][0])


def test_large_images_are_read_with_a_warning():
    """Fault 10."""
    assert probe(png(10000, 10000)).warning == "large: more than 89,478,485 pixels"
    assert MAX_PIXELS == 178_956_970


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_compressed_text_cannot_be_a_bomb(kind):
    """Fault 11: 4 MB of zeros in 4 kB."""
    bomb = chunk(kind, b"name\0\0" + zlib.compress(bytes(4 << 20)))
    data = png(1, 1, extra=bomb, pixels=bytes(2))
    try:
        assert decode(data).shape == (1, 1)  # newer Pillow leaves such texts out
    except LimitError:
        with pytest.raises(LimitError):
            probe(data)
