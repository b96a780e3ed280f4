"""Images and labels that lie together, in one file or one folder, are found by their names."""

import numpy as np
import pytest

from shardwright.arrays.source import ArraySource
from shardwright.base.errors import ConfigError
from shardwright.base.open_source import open_source
from tests.arrays.files import values, write_idx, write_idx_gz


@pytest.mark.parametrize(("images", "labels"), [("x", "y"), ("X", "y"), ("images", "labels"), ("data", "label")])
def test_labels_are_found_by_name(tmp_path, images, labels):
    np.savez(tmp_path / "a.npz", **{images: values(), labels: np.arange(20), "other": np.zeros(3)})
    source = open_source(tmp_path / "a.npz")
    assert source[7]["label"] == 7


def test_keras_files_hold_two_splits(tmp_path):
    np.savez(tmp_path / "m.npz", x_train=values(), y_train=np.arange(20), x_test=values((3, 6, 5)), y_test=[5, 4, 3])
    with pytest.raises(
        ConfigError, match=r"'x_test' \(3, 6, 5\), 'x_train' \(20, 6, 5\), 'y_test' \(3,\), 'y_train' \(20,\).*member="
    ):
        open_source(tmp_path / "m.npz")
    test = ArraySource(tmp_path / "m.npz", member="x_test")
    assert [test[i]["label"] for i in range(3)] == [5, 4, 3]
    other = ArraySource(tmp_path / "m.npz", member="x_test", label_member="y_test", classes=list("abcdef"))
    assert other.fields["label"].names == tuple("abcdef")


def test_mnist_folders(tmp_path):
    write_idx_gz(tmp_path / "t10k-images-idx3-ubyte.gz", values())
    write_idx_gz(tmp_path / "t10k-labels-idx1-ubyte.gz", np.arange(20, dtype=np.uint8))
    source = open_source(tmp_path)
    assert (len(source), source[9]["label"]) == (20, 9)
    write_idx(tmp_path / "train-images-idx3-ubyte", values())
    with pytest.raises(ConfigError, match="several arrays of images"):
        open_source(tmp_path)
