"""HDF5 files: links out of the file, chunks, circles and class names."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from shardwright.base.errors import InputError, UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.hdf5.converter import HDF5Converter
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
        file["kinds"].attrs["class_names"] = [1, 2, 3]
    manifest = index_files(tmp_path)
    assert open_reader(tmp_path).classes == NAMES
    assert manifest.ignored == {"class names of dataset kinds: no list of strings that can be read": COUNT}


LONG = [f"{'x' * (n % 7)}{n} é" for n in range(9000)]  # of different lengths, in three attributes


@pytest.mark.parametrize("names", [NAMES, ["airplane", "cat", "é"], LONG], ids=["few", "some", "many"])
def test_the_class_names_of_our_own_files_come_back(tmp_path: Path, names: list[str]) -> None:
    data = [(PIXELS[n], n % 3) for n in range(COUNT)]
    fields = [Field("label", "class_label", names=tuple(names))]
    HDF5Converter(data, tmp_path / "out", shape=None, num_workers=0, fields=fields, images_per_file=5).convert()
    source = open_source(tmp_path / "out" / "data")
    assert source.fields["label"].names == tuple(names)
    assert dict(source.ignored) == {}


@pytest.mark.parametrize("extra", [{}, {"userblock_size": 512}], ids=str)
def test_class_names_of_any_length_are_read(tmp_path: Path, extra: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "a.h5", "w", **extra) as file:
        file["images"], file["labels"] = PIXELS, LABELS
        for number in range(7):  # so that the header goes on elsewhere
            file["labels"].attrs[f"other{number}"] = "x" * 100
        file["labels"].attrs["class_names"] = ["a", "longer", ""]
    assert open_source(tmp_path / "a.h5").fields["label"].names == ("a", "longer", "")


def test_class_names_that_are_not_found_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["images"], file["labels"] = PIXELS, LABELS
        file["labels"].attrs["class_names"] = ["a", "longer", "b"]
    manifest = index_files(tmp_path / "a.h5")
    assert manifest.ignored == {"class names of dataset labels: no list of strings that can be read": COUNT}


def test_a_damaged_heap_of_class_names_is_an_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["labels"] = PIXELS, LABELS
        file["labels"].attrs["class_names"] = ["a", "longer", "b"]
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(data.replace(b"GCOL", b"GCOX"))
    with pytest.raises(InputError, match="class_names is cut or damaged"):
        open_source(tmp_path / "a.h5")
