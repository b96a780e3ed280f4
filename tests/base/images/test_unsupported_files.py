"""Images of formats, depths and modes that are not on the list are refused."""

import pytest
from PIL import Image

from shardwright.base.errors import UnsupportedImageError
from shardwright.base.images import decode, decode_pil, encode, probe, to_mode
from tests.base.images.pictures import SOURCES, noise, saved


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS"),
        (b"%PDF-1.7\n", "PDF"),
        (b"SIMPLE  =                    T", "FITS"),
        (saved(noise(9, 7, 3), "ICO"), "ICO"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "avif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_formats_off_the_list_are_refused(data, what):
    """Fault 125: the name of the file does not matter here either."""
    for function in (probe, decode, decode_pil):
        with pytest.raises(UnsupportedImageError, match=what):
            function(data)


def test_jpegs_of_12_bit_are_refused():
    data = bytearray(SOURCES["jpg"][0])
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedImageError, match="12 bits"):
        probe(bytes(data))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_float_and_32_bit_images_are_refused(mode):
    """Fault 15."""
    image = Image.new(mode, (3, 2), 1)
    data = saved(image, "TIFF")
    for function in (probe, decode, decode_pil):
        with pytest.raises(UnsupportedImageError, match=repr(mode)):
            function(data)
    with pytest.raises(UnsupportedImageError):
        to_mode(image, "L")
    with pytest.raises(UnsupportedImageError):
        encode(image)
