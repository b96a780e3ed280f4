"""Memory maps as sources: read as the files that they map, where they hold what the file holds."""

import os
import pickle

import numpy as np
import pytest

from shardwright.arrays.source import ArraySource
from shardwright.base.errors import InputError
from shardwright.base.values.rows import MemoryRows, PackedRows
from tests.arrays.files import rows_equal, values


def test_memory_maps_travel_as_paths_and_survive_a_cut_file(tmp_path):
    """FAULTS 101: a mapped file that is cut must not end the process."""
    array = values((400, 10, 10))
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    raw = np.memmap(tmp_path / "a.npy", mode="r", dtype="|u1", offset=128, shape=(400, 10, 10))
    for view, want in ((mapped, array), (mapped[3:20], array[3:20]), (raw, array), (raw[390:], array[390:])):
        source = ArraySource(view)
        assert isinstance(source.rows, PackedRows)
        assert len(pickle.dumps(source)) < 1500
        assert rows_equal(source.rows, want)
    os.truncate(tmp_path / "a.npy", 4096)
    with pytest.raises(InputError, match="has changed"):
        source[0]


def test_maps_that_are_not_what_the_file_holds_are_read_from_memory(tmp_path):
    np.save(tmp_path / "a.npy", values())
    changed = np.load(tmp_path / "a.npy", mmap_mode="c")
    changed[0] = 7
    strided = np.load(tmp_path / "a.npy", mmap_mode="r")[:, ::2]
    for array in (changed, strided):
        source = ArraySource(array)
        assert isinstance(source.rows, MemoryRows)
        assert rows_equal(source.rows, np.array(array))
