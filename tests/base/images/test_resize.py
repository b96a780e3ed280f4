"""Resizing arrays: bilinear and nearest as Pillow does, for every type."""

import sys

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError, UnsupportedImageError
from shardwright.base.images import ResizeAndConvert, resize
from tests.base.images.pictures import noise, photo


@pytest.mark.parametrize("size", [(30, 40), (7, 93), (224, 224), (60, 80), (1, 1)])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_bilinear_is_within_one_gray_level_of_pillow(size, channels):
    array = noise(60, 80, channels) if channels else noise(60, 80)
    if channels == 4:
        array[:, :, 3] = 255  # Pillow weighs by alpha; here channels are independent
    result = resize(array, size)
    expected = Image.fromarray(array).resize(size[::-1], Image.Resampling.BILINEAR)
    assert result.flags.c_contiguous
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - np.asarray(expected)).max() <= 1


def test_nearest_is_that_of_pillow_for_every_size():
    array = np.arange(101 * 67).reshape(101, 67).astype(np.int32)
    for height, width in [(h, 3 * h % 211 + 1) for h in range(1, 240)]:
        image = Image.fromarray(array).resize((width, height), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(resize(array, (height, width), nearest=True), np.asarray(image))


def test_nearest_invents_no_values_and_keeps_types():
    mask = np.array([[0, 40000], [7, 65535]], np.uint16)
    result = resize(mask, (5, 9), nearest=True)
    assert result.dtype == np.uint16
    assert set(np.unique(result)) == {0, 7, 40000, 65535}
    assert resize(np.array([[True, False]]), (2, 4), nearest=True).dtype == bool


def test_16_bit_bilinear_keeps_values():
    array = np.full((50, 60), 65535, np.uint16)
    array[:, 30:] = 12345
    result = resize(array, (25, 20))
    assert result.dtype == np.uint16
    assert (result.max(), result.min()) == (65535, 12345)


def test_16_bit_bilinear_rounds():
    assert resize(np.array([[0, 1, 1, 1]], np.uint16), (1, 1)).tolist() == [[1]]  # of 7 / 8


def test_float_arrays_are_not_resized_bilinearly():
    with pytest.raises(UnsupportedImageError, match="nearest=True"):
        resize(np.zeros((4, 4)), (2, 2))


def test_read_only_and_flipped_arrays_are_resized():
    array = noise(20, 30, 3)
    flipped = array[::-1]
    array.flags.writeable = False
    np.testing.assert_array_equal(resize(array, (10, 9)), resize(array.copy(), (10, 9)))
    np.testing.assert_array_equal(resize(flipped, (10, 9)), resize(flipped.copy(), (10, 9)))


@pytest.mark.parametrize("size", [224, (0, 5), (5, -1), (5,), (1, 2, 3), (2.5, 2), "ab", None])
def test_wrong_sizes_are_refused(size):
    """Fault 38."""
    for call in (lambda: resize(photo(), size), lambda: ResizeAndConvert(size)):
        with pytest.raises(ConfigError, match="height, width"):
            call()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_torch_without_the_fast_kernel_gives_the_same_pixels(dtype, monkeypatch):
    pixels = photo(40, 56).astype(dtype)
    fast = resize(pixels, (17, 23))
    monkeypatch.setattr(sys.modules["shardwright.base.images.resize"], "_KERNEL", None)
    np.testing.assert_array_equal(resize(pixels, (17, 23)), fast)
