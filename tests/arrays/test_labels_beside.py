"""Labels that lie beside the images are found by their names, or their absence is told."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader

X = np.arange(4 * 5 * 7, dtype=np.uint8).reshape(4, 5, 7)
Y = np.array([2, 0, 1, 2], np.uint8)


def idx(path: Path, array: np.ndarray) -> None:
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def npy(path: Path, array: np.ndarray) -> None:
    np.save(path, array)


def h5(path: Path, array: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["y" if array.ndim == 1 else "x"] = array.reshape(-1, 1, 1, 1) if array.ndim == 1 else array


PAIRS: list[tuple[Callable[[Path, np.ndarray], None], str, str]] = [
    (npy, "images.npy", "labels.npy"),
    (npy, "train_x.npy", "train_y.npy"),
    (npy, "X.npy", "X_labels.npy"),
    (npy, "data.npy", "targets.npy"),
    (h5, "camelyon_split_train_x.h5", "camelyon_split_train_y.h5"),
    (h5, "scans.hdf5", "scans_labels.hdf5"),
    (idx, "train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    (idx, "train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
    (idx, "emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-train-labels-idx1-ubyte.gz"),
    (idx, "train_images.idx", "train_labels.idx"),
]


@pytest.mark.parametrize(("write", "images", "labels"), PAIRS)
@pytest.mark.parametrize("whole_folder", [False, True])
def test_pairs_of_files(
    write: Callable[[Path, np.ndarray], None], images: str, labels: str, whole_folder: bool, tmp_path: Path
) -> None:
    write(tmp_path / images, X)
    write(tmp_path / labels, Y)
    if whole_folder and images.endswith(".idx"):
        pytest.skip("files of MXNet end so, too: they are read where they are named")
    data = tmp_path if whole_folder else tmp_path / images
    source = open_source(data)
    assert [source[i]["label"] for i in range(4)] == Y.tolist()
    assert source.labels_from == labels
    if not images.endswith(".gz"):
        index_files(data, tmp_path / "index")
        assert open_reader(tmp_path / "index", data_path=tmp_path).targets.tolist() == Y.tolist()


@pytest.mark.parametrize("names", [("train_images", "train_labels"), ("x", "y"), ("data", "target"), ("X", "y")])
def test_pairs_of_arrays_in_a_file(names: tuple[str, str], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **dict(zip(names, (X, Y), strict=True)))
    source = open_source(tmp_path / "a.npz")
    assert [source[i]["label"] for i in range(4)] == Y.tolist()
    assert source.labels_from == f"array {names[1]}"


def test_names_of_the_classes_are_those_of_the_configuration_beside(tmp_path: Path) -> None:
    npy(tmp_path / "X.npy", X)
    npy(tmp_path / "X_labels.npy", Y.astype(np.int64))
    config = {"images": "X.npy", "labels": "X_labels.npy", "classes": ["Artefact", "Noise", "Pulse"]}
    (tmp_path / "config_pytorch.json").write_text(json.dumps(config))
    (tmp_path / "other_config_pytorch.json").write_text("no JSON")
    assert open_source(tmp_path / "X.npy").fields["label"].names == ("Artefact", "Noise", "Pulse")
    index_files(tmp_path / "X.npy", tmp_path / "index")
    assert open_reader(tmp_path / "index", data_path=tmp_path).classes == ["Artefact", "Noise", "Pulse"]


def test_what_could_hold_the_labels_and_is_not_used_is_told(tmp_path: Path) -> None:
    npy(tmp_path / "scans.npy", X)
    (tmp_path / "labels.csv").write_text("label\n1\n")
    (tmp_path / "read me.csv").write_text("hello\n")
    told = "labels.csv beside the images, not used: give ArraySource('scans.npy', labels='labels.csv')"
    assert open_source(tmp_path / "scans.npy").ignored == {told: 1}
    index_files(tmp_path / "scans.npy")
    assert told in open_reader(tmp_path).manifest.ignored
