"""Every kind of file gives every dtype and order back, and is told from what is no array file."""

import os
import pickle

import numpy as np
import pytest

from shardwright.arrays.files import member_names
from shardwright.arrays.source import ArraySource
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.open_source import open_source
from shardwright.base.values.rows import rows_of_array
from tests.arrays.files import IDX_CODES, WRITERS, rows_equal, values

DTYPES = ["|u1", "|i1", "<i2", ">i2", ">i4", "<u2", "<f4", ">f4", ">f8", "<f8", "|b1", "<c8"]


@pytest.mark.parametrize(
    ("name", "dtype"), [(n, t) for n in WRITERS for t in DTYPES if "idx" not in n or t.replace("<", ">") in IDX_CODES]
)
def test_every_file_format_gives_every_dtype_back(tmp_path, name, dtype):
    array = values((7, 6, 5), dtype)
    WRITERS[name](tmp_path / name, array)
    assert rows_equal(ArraySource(tmp_path / name).rows, array)
    for source in (ArraySource(tmp_path / name), open_source(tmp_path / name)):
        sample = source[3]["image"]
        assert sample.dtype.isnative
        np.testing.assert_array_equal(sample, array[3])
        assert len(source) == 7


@pytest.mark.parametrize("block_bytes", [1, 40, 10**6])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "c.npz"])
def test_fortran_order_is_read_in_blocks(tmp_path, monkeypatch, name, block_bytes):
    monkeypatch.setattr("shardwright.base.values.rows.BLOCK_BYTES", block_bytes)
    array = values((9, 4, 3, 2), ">i4")
    WRITERS[name](tmp_path / name, np.asfortranarray(array))
    source = ArraySource(tmp_path / name)
    assert rows_equal(source.rows, array)
    for i in (0, 8, 4, 5, 1):
        np.testing.assert_array_equal(source[i]["image"], array[i])


@pytest.mark.parametrize("name", WRITERS)
def test_a_source_travels_to_a_worker_process(tmp_path, name):
    array = values((50, 8, 8))
    WRITERS[name](tmp_path / name, array)
    one = ArraySource(tmp_path / name)
    one[30]
    packed = pickle.dumps(one)
    assert len(packed) < 2500
    assert rows_equal(pickle.loads(packed).rows, array)
    source = open_source(tmp_path / name)
    source[30]
    packed = pickle.dumps(source)
    assert len(packed) < 3500
    np.testing.assert_array_equal(pickle.loads(packed)[31]["image"], array[31])


def test_a_member_must_be_chosen(tmp_path):
    np.savez(tmp_path / "a.npz", a=values(), b=values())
    with pytest.raises(ConfigError, match=r"several arrays; choose with member=, it holds 'a', 'b'"):
        ArraySource(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match=r"no array 'c'"):
        ArraySource(tmp_path / "a.npz", member="c")
    assert len(ArraySource(tmp_path / "a.npz", member="b")) == 20
    np.save(tmp_path / "a.npy", values())
    with pytest.raises(ConfigError, match="leave member='b' out"):
        ArraySource(tmp_path / "a.npy", member="b")
    with pytest.raises(ConfigError, match="leave it out"):
        ArraySource(values(), member="b")
    assert member_names(tmp_path / "a.npy") == []


def test_what_is_no_array_file_is_told(tmp_path):
    for name, content, message in (
        ("a.npy", b"", "is empty"),
        ("raw.npy", bytes(100), r"give.*numpy\.memmap|numpy.memmap"),
        ("gone.npy", None, "No such file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            ArraySource(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        ArraySource(tmp_path)
    os.mkfifo(tmp_path / "fifo.npy")
    with pytest.raises(InputError, match="FIFO"):
        ArraySource(tmp_path / "fifo.npy")


def test_empty_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 4, 4), np.uint8))
    assert len(ArraySource(tmp_path / "a.npy")) == 0
    assert rows_of_array(np.zeros((0, 4))).read(0, 0).shape == (0, 4)
