""".npy files that cannot be read in place."""

from pathlib import Path

import numpy as np

from shardwright.base.errors import InputError, UnsafeDataError
from tests.base.index_files.files import LABELS, PIXELS, refused


def test_npy_that_cannot_be_read_in_place_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array, error, match in (
        (np.array([{}], object), UnsafeDataError, "never unpickled"),
        (np.asfortranarray(PIXELS), InputError, "Fortran"),
        (PIXELS.astype(">u2"), InputError, "convert"),
        (np.float32(1), InputError, "first axis"),
        (np.array(["cat"]), InputError, "labels="),
    ):
        np.save(path, array, allow_pickle=True)
        refused(path, error, match)
    np.save(path, PIXELS)
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, InputError, "cut")
    np.save(tmp_path / "images.npy", PIXELS)
    np.save(tmp_path / "labels.npy", LABELS[:-1])
    refused(tmp_path / "images.npy", InputError, "11 values for 12 samples")
