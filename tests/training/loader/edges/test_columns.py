"""Columns of a reader: memory that does not fit, none, one twice, arrays without axes, modes."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from shardwright.base.fields import Field
from shardwright.memmap.converter import MemmapConverter
from shardwright.memmap.reader import MemmapReader
from shardwright.training.loader import ThreadedLoader
from tests.training.loader.edges.arrays import COUNT


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "out",
    [
        np.zeros((4, 12, 10, 3), np.uint8)[:, ::-1],
        np.zeros((3, 12, 10, 3), np.uint8),
        np.zeros((5, 12, 10, 3), np.uint8),
        np.zeros((4, 12, 10, 3), np.float32),
        np.zeros((4, 10, 12, 3), np.uint8),
    ],
)
def test_memory_that_does_not_fit_is_refused(path, mmap, out):
    reader = MemmapReader(path, mmap=mmap)
    with pytest.raises(ValueError, match="'image'"):
        reader.read_columns([0, 1, 2, 3], {"image": out})


def test_no_column_is_no_sample(path):
    with pytest.raises(ValueError, match="columns="):
        MemmapReader(path, columns=[])


def test_a_column_that_comes_twice_is_read_twice(path):
    reader = MemmapReader(path, output="tensor", columns=["image", "label", "image"])
    [wanted] = DataLoader(reader, COUNT)
    [found] = ThreadedLoader(reader, COUNT, num_threads=0)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("output", ["pil", "numpy", "tensor", "tv_tensor"])
def test_arrays_without_axes_are_read(tmp_path, output):
    data, fields = [{"x": np.float32(n / 2)} for n in range(3)], [Field("x", "array", "<f4", ())]
    MemmapConverter(data, tmp_path / "d", num_workers=0, fields=fields).convert()
    value = MemmapReader(tmp_path / "d", output=output)[1]["x"]
    assert isinstance(value, torch.Tensor) == ("tensor" in output)
    assert (value.item(), value.shape) == (0.5, ())


def test_values_of_columns_that_are_not_read_have_the_mode_too(path):
    reader = MemmapReader(path, output="numpy", mode="L", columns=["label"])
    assert reader.read_values([0], ["image"])["image"][0].shape == (12, 10)
