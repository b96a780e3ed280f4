"""What a conversion keeps of arrays: the values, in every format, and what tells one source from another."""

import numpy as np
import pytest

from shardwright.arrays.source import ArraySource
from shardwright.base.formats import get_format
from shardwright.base.reader import open_reader
from tests.arrays.files import values


def test_content_is_the_same_elsewhere_and_state_is_not(tmp_path):
    (tmp_path / "b").mkdir()
    for folder in (tmp_path, tmp_path / "b"):
        np.save(folder / "a.npy", values())
    one, two = (ArraySource(folder / "a.npy", labels=range(20)) for folder in (tmp_path, tmp_path / "b"))
    assert one.content() == two.content()
    assert one.state() != two.state()
    other = ArraySource(tmp_path / "a.npy", labels=[*range(19), 0])
    assert one.content() != other.content()
    changed = values()
    changed[5, 0, 0] += 1
    assert ArraySource(values()).state() == ArraySource(values()).state() != ArraySource(changed).state()
    assert one.name(3) == f"row 3 of {tmp_path}/a.npy"


@pytest.mark.parametrize("name", ["memmap", "hdf5", "parquet", "pyarrow_ipc", "tar"])
@pytest.mark.parametrize("workers", [0, 2])
def test_arrays_go_into_every_format(tmp_path, name, workers):
    array = values((30, 8, 6, 3))
    np.savez_compressed(tmp_path / "a.npz", x=array)
    source = ArraySource(tmp_path / "a.npz", labels=[f"c{i % 3}" for i in range(30)])
    options = {"shape": None} if name in ("memmap", "hdf5") else {}
    record = get_format(name)
    converter = record.load_converter()(source, tmp_path / name, 12, 5, workers, progress=False, **options)
    converter.convert()
    reader = open_reader(tmp_path / name, output="numpy")
    assert reader.class_to_idx == {"c0": 0, "c1": 1, "c2": 2}
    for i in range(30):
        image, label = reader[i]
        np.testing.assert_array_equal(image, array[i])
        assert label == i % 3


@pytest.mark.parametrize("name", ["memmap", "hdf5", "parquet", "pyarrow_ipc", "tar"])
@pytest.mark.parametrize("dtype", ["<f4", ">i2"])
def test_arrays_of_numbers_go_into_every_format(tmp_path, name, dtype):
    array = values((9, 4, 3), dtype) / np.array(1, dtype)
    array = array.astype(dtype)
    record = get_format(name)
    record.load_converter()(ArraySource(array), tmp_path / name, 4, 2, 0, progress=False).convert()
    reader = open_reader(tmp_path / name, output="numpy")
    for i in range(9):
        value = reader[i][0] if isinstance(reader[i], tuple) else reader[i]
        np.testing.assert_array_equal(value, array[i])
