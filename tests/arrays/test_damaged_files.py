"""Files that are cut, too long, damaged or changed while they are read."""

import gzip
import os

import numpy as np
import pytest

from shardwright.arrays.source import ArraySource
from shardwright.base.errors import ConfigError, InputError
from tests.arrays.files import WRITERS, values


@pytest.mark.parametrize("name", WRITERS)
def test_cut_files_are_refused_at_once(tmp_path, name):
    """FAULTS 100: whatever is missing at the end, nothing is read."""
    WRITERS[name](tmp_path / name, values((40, 9, 9)))
    whole = (tmp_path / name).read_bytes()
    for size in (*range(0, 200, 7), len(whole) // 2, len(whole) - 9, len(whole) - 1):
        if size >= len(whole):
            continue
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises((InputError, ConfigError), match=name):
            ArraySource(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte", "b-idx3-ubyte.gz"])
def test_more_bytes_than_the_header_says_are_refused(tmp_path, name):
    WRITERS[name](tmp_path / name, values())
    with (tmp_path / name).open("ab") as file:
        file.write(b"more" if "gz" not in name else gzip.compress(b"more"))
    with pytest.raises(InputError, match="header says"):
        ArraySource(tmp_path / name)


@pytest.mark.parametrize("name", ["c.npz", "b-idx3-ubyte.gz"])
def test_damage_in_compressed_arrays_is_found_before_anything_is_read(tmp_path, name):
    array = np.random.default_rng(0).integers(0, 255, (30, 8, 8), np.uint8)
    WRITERS[name](tmp_path / name, array)
    whole = (tmp_path / name).read_bytes()
    for place in range(200, len(whole) - 300, 61):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match=name):
            ArraySource(tmp_path / name)


def test_a_file_that_changes_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", values())
    source = ArraySource(tmp_path / "a.npy")
    os.utime(tmp_path / "a.npy", ns=(1, 1))
    with pytest.raises(InputError, match="has changed; let nobody write"):
        source[0]
    (tmp_path / "a.npy").unlink()
    with pytest.raises(InputError, match=r"a\.npy cannot be read"):
        source[0]
