"""Arrays, tensors, Pillow images and files are taken alike; what is no image is refused, by name."""

import numpy as np
import pytest
import torch
from PIL import Image

from shardwright.base.errors import InputError, LimitError, UnsupportedImageError
from shardwright.base.images import EncodedImage, encode, to_array, to_pil
from tests.base.images.pictures import noise, png


def test_tensors_arrays_images_and_files_are_the_same():
    array = noise(5, 7, 3)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    data = encode(array)
    for image in (array, tensor, Image.fromarray(array), data, EncodedImage(data, "a.png")):
        np.testing.assert_array_equal(to_array(image), array)
        np.testing.assert_array_equal(np.asarray(to_pil(image)), array)
        gray = np.asarray(Image.fromarray(array).convert("L"))
        np.testing.assert_array_equal(to_array(image, "L"), gray)
        np.testing.assert_array_equal(np.asarray(to_pil(image, "L")), gray)
        if not isinstance(image, bytes | EncodedImage):
            assert encode(image) == data


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", bool])
def test_gray_arrays_may_have_a_channel_axis_and_any_byte_order(dtype):
    array = (noise(4, 6) & 1).astype(dtype)
    expected = array * np.uint8(255) if dtype is bool else array
    np.testing.assert_array_equal(to_array(array), expected)
    np.testing.assert_array_equal(to_array(array[:, :, None]), expected)
    assert to_array(array).dtype.isnative


@pytest.mark.parametrize(
    "array",
    [
        noise(3, 8, 9),
        noise(8, 9, 2),
        noise(8),
        noise(8, 0),
        np.zeros((4, 4)),
        np.zeros((4, 4), np.int64),
        noise(4, 4, 3, dtype=np.uint16),
        torch.zeros(3, 4, 4),
        "image.png",
        None,
    ],
    ids=str,
)
def test_what_is_no_image_is_refused(array):
    for function in (to_array, to_pil, encode):
        with pytest.raises(UnsupportedImageError, match="is no image"):
            function(array)


def test_errors_name_the_file():
    for function in (to_array, to_pil):
        with pytest.raises(LimitError, match=r"^cats/1\.png: the image has"):
            function(EncodedImage(png(20000, 20000), "cats/1.png"))
        with pytest.raises(InputError, match=r"^not an image"):
            function(EncodedImage(b"text"))
