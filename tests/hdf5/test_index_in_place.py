"""HDF5 files: links out of the file, chunks, circles and class names."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from shardwright.base.errors import InputError, UnsafeDataError
from shardwright.base.index_files import index_files
from shardwright.base.reader import open_reader
from tests.base.index_files.files import COUNT, LABELS, NAMES, PIXELS, refused


@pytest.mark.parametrize("what", ["external link", "soft link", "external storage", "virtual"])
def test_hdf5_that_leads_out_of_the_file_is_refused(what: str, tmp_path: Path) -> None:
    """Fault 117."""
    (tmp_path / "secret").write_bytes(bytes(1000))
    with h5py.File(tmp_path / "other.hdf", "w") as file:
        file["images"] = PIXELS
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = PIXELS
        if what == "external link":
            file["x"] = h5py.ExternalLink("other.hdf", "/images")
        elif what == "soft link":
            file["x"] = h5py.SoftLink("/images")
        elif what == "external storage":
            file.create_dataset("x", (COUNT, 5), "u1", external=[(str(tmp_path / "secret"), 0, 60)])
        else:
            layout = h5py.VirtualLayout(PIXELS.shape, "u1")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf"), "images", PIXELS.shape)
            file.create_virtual_dataset("x", layout)
    refused(tmp_path / "a.h5", UnsafeDataError, "a link|other files")


def test_hdf5_in_chunks_says_to_convert_and_circles_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=PIXELS, compression="gzip")
    refused(tmp_path / "a.h5", InputError, "(?s)chunks.*convert it")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["images"], file["again"], file["round"] = PIXELS, file["/"], file["/"]
    assert index_files(tmp_path / "b.h5").num_samples == COUNT


def test_hdf5_class_names_in_several_attributes_are_read_and_others_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["labels"], file["kinds"] = PIXELS, LABELS, LABELS
        file["labels"].attrs["class_names"] = np.array(NAMES[:2], "S")
        file["labels"].attrs["class_names_1"] = np.array(NAMES[2:], "S")
        file["kinds"].attrs["class_names"] = NAMES  # each of its own length
    manifest = index_files(tmp_path)
    assert open_reader(tmp_path).classes == NAMES
    assert manifest.ignored == {"class names of dataset kinds: not strings of one length": COUNT}
