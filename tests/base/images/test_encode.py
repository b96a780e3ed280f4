"""Encoding: lossless and the same every time, unless a quality is asked for."""

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError
from shardwright.base.images import decode, decode_pil, encode, probe
from tests.base.images.pictures import noise, palette_image, photo, saved


def lossless_cases():
    rgb = Image.fromarray(noise(5, 7, 3))
    return {
        "1": Image.fromarray(noise(5, 7) > 100),
        "L": Image.fromarray(noise(5, 7)),
        "LA": Image.fromarray(noise(5, 7, 4)).convert("LA"),
        "I;16": Image.fromarray(noise(5, 7, dtype=np.uint16)),
        "P": palette_image(),
        "RGB": rgb,
        "RGBA": Image.fromarray(noise(5, 7, 4)),
        "CMYK": rgb.convert("CMYK"),
    }


@pytest.mark.parametrize("mode", lossless_cases())
def test_encoding_is_lossless_and_repeatable(mode):
    image = lossless_cases()[mode]
    assert image.mode == mode
    data = encode(image)
    assert data == encode(image.copy())
    assert probe(data).extension == ("tif" if mode == "CMYK" else "png")
    back = decode_pil(data)
    assert back.mode == mode
    assert back.tobytes() == image.tobytes()
    if mode == "P":
        assert back.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_a_palette_keeps_its_transparency():
    data = saved(palette_image(), "PNG", transparency=bytes([0, 255, 128, 255]))
    again = encode(decode_pil(data))
    np.testing.assert_array_equal(decode(again, "RGBA"), decode(data, "RGBA"))


def test_webp_is_lossless_without_a_quality():
    rgba = noise(9, 8, 4)
    np.testing.assert_array_equal(decode(encode(rgba, "webp")), rgba)
    assert len(encode(photo(), "webp", 30)) < len(encode(photo(), "webp", 100))


def test_jpeg_takes_a_quality():
    sizes = [len(encode(photo(), "jpeg", quality)) for quality in (10, 80, None, 100)]
    assert sizes == sorted(sizes)
    assert probe(encode(photo(), "jpeg")).extension == "jpg"


@pytest.mark.parametrize(
    ("mode", "encoding"),
    [
        ("RGBA", "jpeg"),
        ("P", "jpeg"),
        ("I;16", "jpeg"),
        ("1", "jpeg"),
        ("L", "webp"),
        ("CMYK", "webp"),
    ],
)
def test_no_encoding_changes_the_mode_silently(mode, encoding):
    with pytest.raises(ConfigError, match=f"{encoding}.*cannot hold.*{mode}"):
        encode(lossless_cases()[mode], encoding)


@pytest.mark.parametrize(
    "arguments",
    [("gif",), ("PNG",), ("jpeg", 0), ("jpeg", 101), ("webp", 9.5), ("jpeg", True), ("png", 90)],
)
def test_wrong_encodings_and_qualities_are_refused(arguments):
    """Fault 41."""
    with pytest.raises(ConfigError):
        encode(photo(), *arguments)
