"""Which axes are height, width and channels, and whether an array holds images at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shardwright import HDF5Converter, MemmapConverter, open_reader, verify
from shardwright.arrays.source import ArraySource
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.values.infer import find_layout
from tests.arrays.files import values


def test_pixels_keep_their_places():
    """Coordinates are written into the pixels; every one must be found where it says."""
    n, y, x = np.indices((6, 9, 8)).astype(np.uint8)
    source = ArraySource(np.stack([n, y, x], axis=1), layout="NCHW")
    for i in range(6):
        image = source[i]["image"]
        assert image.shape == (9, 8, 3)
        for row, column in ((0, 0), (8, 7), (3, 5)):
            assert image[row, column].tolist() == [i, row, column]


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((9, 28, 28), "NHW"),
        ((9, 28, 28, 1), "NHWC"),
        ((9, 28, 28, 3), "NHWC"),
        ((9, 28, 28, 4), "NHWC"),
        ((9, 1, 28, 28), "NCHW"),
        ((9, 3, 28, 28), "NCHW"),
        ((2, 2, 3), "NHW"),
    ],
)
def test_layouts_are_found_where_they_are_clear(shape, layout):
    assert find_layout(shape) == layout


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((9, 3, 8, 3), "layout='NHWC'.*or layout='NCHW'"),
        ((9, 1, 1, 1), "layout='NHWC'.*or layout='NCHW'"),
        ((9, 5, 8, 7), "layout='NHWC'.*or layout='NCHW'"),
        ((28, 28, 3), r"looks like one image.*layout='NHW'.*array\[None\]"),
        ((28, 28), r"\(N, H, W\), \(N, H, W, C\) or \(N, C, H, W\)"),
    ],
)
def test_ambiguous_shapes_are_errors_that_show_the_choices(shape, message):
    with pytest.raises(ConfigError, match=message):
        find_layout(shape)


def test_a_said_layout_is_held_against_the_shape():
    assert find_layout((9, 3, 8, 3), "NCHW") == "NCHW"
    assert ArraySource(np.zeros((28, 28, 3), np.uint8), layout="NHW")[0]["image"].shape == (28, 3)
    with pytest.raises(ConfigError, match="choose one of 'NHW', 'NHWC', 'NCHW'"):
        find_layout((9, 3, 8, 3), "HWC")
    with pytest.raises(ConfigError, match="not layout='NHW': choose 'NHWC' or 'NCHW'"):
        find_layout((9, 3, 8, 3), "NHW")
    with pytest.raises(ConfigError, match="reshape it"):
        find_layout((9, 3), "NHW")


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "kind", "sample"),
    [
        ((2, 8, 8), "u1", None, None, (8, 8)),
        ((2, 8, 8, 3), "u1", None, None, (8, 8, 3)),
        ((2, 3, 8, 8), "u1", None, None, (8, 8, 3)),
        ((2, 8, 8, 5), "u1", "NHWC", "array", (8, 8, 5)),
        ((2, 5, 8, 8), "u1", "NCHW", "array", (5, 8, 8)),
        ((2, 8, 8), "u2", None, "array", (8, 8)),
        ((2, 3, 8, 8), "f4", None, "array", (3, 8, 8)),
        ((2, 3, 8, 3), "f4", None, "array", (3, 8, 3)),
        ((2, 7), "u1", None, "array", (7,)),
        ((2, 2, 3, 4, 5), "u1", None, "array", (2, 3, 4, 5)),
        ((2, 0, 8), "u1", None, "array", (0, 8)),
    ],
)
def test_what_is_an_image_and_what_an_array(shape, dtype, layout, kind, sample):
    source = ArraySource(values(shape, dtype), layout=layout)
    assert source[1]["image"].shape == sample
    assert (source.fields["image"].kind if "image" in source.fields else None) == kind
    if kind:
        assert source.fields["image"].shape == sample


def test_what_cannot_be_images_is_refused():
    with pytest.raises(InputError, match="is a label, not an image"):
        ArraySource(np.zeros(5))
    with pytest.raises(InputError, match="has no axes"):
        ArraySource(np.zeros(()))
    with pytest.raises(InputError, match="pass it as labels="):
        ArraySource(np.array([["a"], ["b"]]))
    with pytest.raises(ConfigError, match="of type list"):
        ArraySource([[1, 2]])
    with pytest.raises(InputError, match=r"dtype datetime64\[s\]"):
        ArraySource(np.zeros((2, 2), "M8[s]"))


def test_tensors_are_arrays_too():
    tensor = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    source = ArraySource(tensor, labels=torch.tensor([1, 0]))
    np.testing.assert_array_equal(source[1]["image"], tensor[1].numpy())
    assert source[0]["label"] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int64, np.uint8])
@pytest.mark.parametrize("converter", [MemmapConverter, HDF5Converter])
def test_arrays_of_any_type_are_turned_to_channels_first(converter: Any, dtype: Any, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 200, (7, 4, 5, 2)).astype(dtype)
    source = ArraySource(array, layout="NHWC")
    options = {"images_per_file": 7, "shape": None, "num_workers": 0, "progress": False}
    converter(source, tmp_path / "turned", layout="NCHW", **options).convert()
    turned = open_reader(tmp_path / "turned", output="numpy", check=True)
    assert turned.fields[0].kind == "array"
    assert np.array_equal(np.stack(list(turned)), array.transpose(0, 3, 1, 2))
    assert verify(tmp_path / "turned").ok
    converter(tmp_path / "turned", tmp_path / "again", layout="NCHW", **options).convert()
    again = open_reader(tmp_path / "again", output="numpy")
    assert all(np.array_equal(a, b) for a, b in zip(turned, again, strict=True))
    converter(source, tmp_path / "kept", **options).convert()
    assert np.array_equal(open_reader(tmp_path / "kept", output="numpy")[3], array[3])
