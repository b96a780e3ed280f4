"""The public names of the image module, and of the module that shows them to users."""

import pytest

import utils.utils
from shardwright.base import images
from shardwright.base.images import ResizeAndConvert


@pytest.mark.parametrize("module", [images, utils.utils])
def test_exports_are_sorted_and_there(module):
    assert module.__all__ == sorted(module.__all__, key=lambda n: (not n.isupper(), n))
    assert all(hasattr(module, name) for name in module.__all__)
    assert utils.utils.ResizeAndConvert is ResizeAndConvert
