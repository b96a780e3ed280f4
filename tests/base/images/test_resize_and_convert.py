"""`ResizeAndConvert`: every kind of image goes in, the same kind comes out."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from shardwright.base import images
from shardwright.base.images import EncodedImage, ResizeAndConvert, decode, encode, resize
from tests.base.images.pictures import SOURCES, every_source, photo


def test_resize_and_convert_returns_the_kind_that_it_was_given():
    """Fault 40: the size is (height, width)."""
    change = ResizeAndConvert((32, 48), "RGB")
    data = encode(photo(), "jpeg")
    expected = resize(decode(data, "RGB"), (32, 48))
    array = decode(data)
    for image in (Image.fromarray(array), EncodedImage(data), data):
        result = change(image)
        assert isinstance(result, Image.Image)
        assert result.size == (48, 32)
        np.testing.assert_array_equal(np.asarray(result), expected)
    np.testing.assert_array_equal(change(array), expected)
    tensor = change(torch.from_numpy(array).permute(2, 0, 1))
    assert tensor.shape == (3, 32, 48)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("mode", images.MODES)
@every_source
def test_resize_and_convert_takes_every_image(name, mode):
    data = SOURCES[name][0]
    result = ResizeAndConvert((6, 5), mode)(Image.open(io.BytesIO(data)))
    assert (result.mode, result.size) == (mode, (5, 6))
    np.testing.assert_array_equal(np.asarray(result), resize(decode(data, mode), (6, 5)))
    assert ResizeAndConvert((6, 5), mode)(torch.zeros(3, 9, 9, dtype=torch.uint8)).ndim == 3


def test_resize_and_convert_is_a_value():
    change = ResizeAndConvert(size=[np.int64(32), 48], mode="L")
    assert repr(change) == "ResizeAndConvert(size=(32, 48), mode='L', exif='ignore')"
    assert pickle.loads(pickle.dumps(change)) == change
    assert ResizeAndConvert() == ResizeAndConvert((224, 224), "RGB")
