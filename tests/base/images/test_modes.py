"""Modes: what 16 bits, palettes, transparency and 1 bit become, and which modes can be asked for."""

import struct

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError
from shardwright.base.images import ResizeAndConvert, decode, decode_pil, encode, probe, to_array, to_mode
from tests.base.images.pictures import SOURCES, every_source, palette_image, png, saved


def test_16_bit_is_scaled_never_saturated():
    """Fault 14."""
    values = np.array([[0, 128, 129, 255, 257, 32768, 65406, 65407, 65535]], np.uint16)
    expected = np.round(values / 257).astype(np.uint8)
    assert expected.max() == 255
    for kind in ("PNG", "TIFF"):
        data = saved(values, kind)
        np.testing.assert_array_equal(decode(data), values)
        assert decode(data).dtype == np.uint16
        np.testing.assert_array_equal(decode(data, "L"), expected)
        np.testing.assert_array_equal(decode(data, "RGB"), np.stack([expected] * 3, axis=2))
    big_endian = Image.frombytes("I;16B", (9, 1), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(to_array(big_endian), values)
    np.testing.assert_array_equal(to_array(big_endian, "L"), expected)


def test_every_8_bit_gray_survives_16_bit():
    gray = np.arange(256, dtype=np.uint8)[None]
    deep = to_array(gray, "I;16")
    assert (deep.dtype, deep.max()) == (np.uint16, 65535)
    np.testing.assert_array_equal(to_array(deep, "L"), gray)


def test_png_colours_of_16_bit_come_with_a_warning():
    """Fault 14."""
    pixels = b"\0" + struct.pack(">3H", 0x1234, 0xFFFF, 0x0080)
    data = png(1, 1, bits=16, colour=2, pixels=pixels)
    assert probe(data).warning == "16 bits per channel: read with 8"
    assert decode(data).tolist() == [[[0x12, 0xFF, 0x00]]]


def test_palettes_keep_indices_or_give_their_colours():
    """Fault 16."""
    image = palette_image()
    for kind in ("PNG", "GIF", "TIFF", "BMP"):
        data = saved(image, kind)
        np.testing.assert_array_equal(decode(data, "RGB"), np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(decode(saved(image, "PNG")), np.asarray(image))


def test_transparent_palette_colours_become_white():
    """Fault 16."""
    data = saved(palette_image(), "PNG", transparency=bytes([0, 255, 128, 255]))
    expected = [[255, 255, 255], [0, 255, 0], [127, 127, 255], [10, 20, 30]]
    assert decode(data, "RGB")[0].tolist() == expected
    assert decode(data, "RGBA")[0, :, 3].tolist() == [0, 255, 128, 255]
    assert decode_pil(data).mode == "P"


def test_alpha_is_kept_or_laid_over_white():
    """Fault 17."""
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    data = encode(rgba)
    np.testing.assert_array_equal(decode(data), rgba)
    assert decode(data, "RGB").tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]
    assert decode(data, "L").tolist() == [[76, 255, 204]]
    la = Image.merge("LA", [Image.new("L", (1, 1), 0), Image.new("L", (1, 1), 51)])
    assert decode(encode(la), "L").tolist() == [[204]]
    assert decode(encode(la), "I;16").tolist() == [[204 * 257]]
    assert decode(encode(la)).tolist() == [[[0, 0, 0, 51]]]
    assert decode_pil(encode(la)).mode == "LA"


def test_a_colour_key_is_alpha_only_where_alpha_is_asked_for():
    """Fault 17."""
    key = np.array([[0, 7]], np.uint8)
    data = saved(key, "PNG", transparency=7)
    np.testing.assert_array_equal(decode(data, "L"), key)
    assert decode(data, "RGBA")[0, :, 3].tolist() == [255, 0]


def test_1_bit_is_0_and_255():
    """Fault 18."""
    bits = np.array([[True, False, True]])
    for data in (encode(bits), saved(Image.fromarray(bits), "TIFF", compression="group4")):
        assert probe(data).mode in ("1", "L")
        assert decode(data).tolist() == [[255, 0, 255]]
        assert decode(data, "L").tolist() == [[255, 0, 255]]
        assert decode(data).dtype == np.uint8
    assert to_array(Image.fromarray(bits)).tolist() == [[255, 0, 255]]


@pytest.mark.parametrize("mode", ["CMYK", "P", "BGR", "rgb", "", "1"])
def test_unknown_modes_are_refused_with_the_choices(mode):
    """Fault 41."""
    for call in (
        lambda: to_mode(Image.new("RGB", (2, 2)), mode),
        lambda: ResizeAndConvert(mode=mode),
        lambda: decode(SOURCES["jpg"][0], mode),
        lambda: decode(SOURCES["png"][0], mode),
    ):
        with pytest.raises(ConfigError, match="'L', 'RGB', 'RGBA', 'I;16'"):
            call()


@every_source
def test_the_own_mode_can_always_be_asked_for(name):
    data, mode = SOURCES[name]
    assert decode_pil(data, mode).mode == mode
    np.testing.assert_array_equal(decode(data, mode), decode(data))
