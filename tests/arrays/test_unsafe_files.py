"""Files made to do harm: headers that lie, pickled objects, zip members of one name."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from shardwright.arrays.files import open_rows
from shardwright.arrays.source import ArraySource
from shardwright.base.errors import InputError, UnsafeDataError
from tests.arrays.files import header


@pytest.mark.parametrize(
    "head",
    [
        header(shape="(-1, -18)"),
        header(shape="(True, 18)"),
        header(shape="(2**62, 2**62)"),
        header(shape=f"({2**62}, {2**62})"),
        header(shape="()"),
        header(shape="3"),
        header(descr="'|V4'"),
        header(descr="[('a', '<i4')]"),
        header(descr="'<M8[s]'"),
        header(descr="'what'"),
        header(descr="(" * 2000 + ")" * 2000),
        header(fortran="7"),
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"\x93NUMPY\x09\x00" + bytes(200),
        b"\x93NUMPY\x01\x00\x10\x00" + b"\xff" * 16,
    ],
)
def test_crafted_headers_are_refused(tmp_path, head):
    """FAULTS 126: only errors of ours come out of a header, whatever it says."""
    (tmp_path / "a.npy").write_bytes(head + bytes(18))
    with pytest.raises((InputError, UnsafeDataError)):
        open_rows(tmp_path / "a.npy")


class Canary:
    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize("kind", ["npy", "npz", "memory"])
def test_objects_are_never_unpickled(tmp_path, monkeypatch, kind):
    """FAULTS 112, 113."""
    monkeypatch.chdir(tmp_path)
    array = np.array([Canary(), Canary()], dtype=object)
    if kind == "npy":
        np.save("a.npy", array, allow_pickle=True)
    elif kind == "npz":
        np.savez("a.npz", x=array)
    with pytest.raises((UnsafeDataError, InputError), match="Python objects"):
        ArraySource(array if kind == "memory" else f"a.{kind}")
    assert not Path("unpickled").exists()


def test_zip_files_of_another_kind_are_refused(tmp_path):
    """FAULTS 115: two members of one name."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", header() + bytes(18))
    with pytest.raises(InputError, match="compressed in another way"):
        open_rows(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", header() + bytes(18))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", header() + bytes(18))
    with pytest.raises(UnsafeDataError, match="two members of one name"):
        open_rows(tmp_path / "b.npz")
