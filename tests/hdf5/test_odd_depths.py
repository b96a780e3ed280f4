"""Integers with fewer bits than their bytes, as cameras give them: the values are those that h5py gives."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from shardwright.arrays.source import ArraySource
from shardwright.base.errors import InputError
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source


@pytest.mark.parametrize(("base", "dtype", "offset"), [("STD_I16LE", np.int16, 0), ("STD_U16LE", np.uint16, 4)])
def test_twelve_bits_in_sixteen(base: str, dtype: type, offset: int, tmp_path: Path) -> None:
    kind = getattr(h5py.h5t, base).copy()
    kind.set_precision(12)
    kind.set_offset(offset)
    values = (np.arange(2 * 5 * 7).reshape(2, 5, 7) - (35 if dtype is np.int16 else 0)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(values.shape)
        h5py.h5d.create(file.id, b"images", kind, space).write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    for source in (ArraySource(tmp_path / "a.h5"), open_source(tmp_path / "a.h5")):
        assert np.array_equal(np.stack([source[i]["image"] for i in range(2)]), values)
    with pytest.raises(InputError, match=r"fewer bits than their bytes have.*convert it"):
        index_files(tmp_path / "a.h5")
