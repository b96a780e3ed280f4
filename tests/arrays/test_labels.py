"""Labels: from numbers, names, one-hot rows, text and array files to class numbers."""

import h5py
import numpy as np
import pytest

from shardwright.arrays.labels import load_labels
from shardwright.arrays.source import ArraySource
from shardwright.base.errors import ConfigError, InputError
from tests.arrays.files import values, write_h5, write_idx, write_idx_gz, write_npy, write_npz


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        ([2, 0, 1], [2, 0, 1], None),
        ([-1, 0, 2**62], [-1, 0, 2**62], None),
        (np.array([2.0, 0.0, 1.0]), [2, 0, 1], None),
        (np.array([[2], [0], [1]], np.uint8), [2, 0, 1], None),
        (np.array([2, 0, 1], ">u2"), [2, 0, 1], None),
        ([True, False, True], [1, 0, 1], None),
        (["dog", "cat", "dog"], [1, 0, 1], ("cat", "dog")),
        (["b", "é", "Z"], [1, 2, 0], ("Z", "b", "é")),
        (["10", "9", "10"], [0, 1, 0], ("10", "9")),
        (np.array(["dog", "cat", "dog"], dtype=object), [1, 0, 1], ("cat", "dog")),
        (np.array([b"dog", b"cat", "é".encode()]), [1, 0, 2], ("cat", "dog", "é")),
        (np.eye(3)[[2, 0, 1]], [2, 0, 1], None),
        (np.eye(3, dtype=bool)[[2, 0, 1]], [2, 0, 1], None),
    ],
)
def test_labels_become_class_numbers(labels, numbers, names):
    """FAULTS 32."""
    found = load_labels(labels)
    assert found.numbers.dtype == np.int64
    assert found.numbers.tolist() == numbers
    assert found.names == names
    assert found.class_to_idx == {name: i for i, name in enumerate(names or ())}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2.7, 1], r"label 1 is 2\.7"),
        ([0, float("nan")], "label 1 is nan"),
        (np.array([0, 2**63], np.uint64), "label 1 is 9223372036854775808"),
        ([0.0, 2.0**63], "label 1 is"),
        ([1j, 2], "dtype complex128"),
        ([None, 1], "Python objects"),
        ([1, "cat"], "mix names and numbers"),
        ([[1], [2, 3]], "different lengths"),
        ([[0, 1], [1, 1]], "row 1 is not one-hot"),
        ([[0, 1], [0, 0]], "row 1 is not one-hot"),
        ([[0.5, 0.5]], "row 0 is not one-hot"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.array([["a", "b"]]), r"names of shape \(1, 2\)"),
        (np.array([b"\xff"]), "not UTF-8"),
        (3, r"shape \(\)"),
    ],
)
def test_labels_that_are_none_are_refused(labels, message):
    """FAULTS 32."""
    with pytest.raises(InputError, match=message):
        load_labels(labels)


def test_70000_classes(tmp_path):
    """FAULTS 31."""
    names = [f"c{i:05d}" for i in range(70_000)]
    found = load_labels(names[::-1])
    assert found.numbers.tolist() == list(range(70_000))[::-1]


@pytest.mark.parametrize(
    ("name", "text", "numbers", "names"),
    [
        ("a.csv", "label\ncat\ndog\ncat\n", [0, 1, 0], ("cat", "dog")),
        ("a.txt", "3\n-1\n\n2\n", [3, -1, 2], None),
        ("a.csv", 'file,Class\n"a,b",x\nc, y \n', [0, 1], ("x", "y")),
        ("a.tsv", "target\tfile\n1\ta\n0\tb\n", [1, 0], None),
        ("a.csv", "\ufefflabel\né\n", [0], ("é",)),
    ],
)
def test_labels_from_text(tmp_path, name, text, numbers, names):
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = load_labels(tmp_path / name)
    assert (found.numbers.tolist(), found.names) == (numbers, names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "call the one with the labels 'label'"),
        (b"file,label\na,1\nb\n", "row 3 has 1 columns"),
        (b"\xff\xfe\n", "save it as UTF-8"),
    ],
)
def test_text_without_labels_is_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(InputError, match=message):
        load_labels(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["l.npy", "l.npz", "l.h5", "l-idx1-ubyte", "l-idx1-ubyte.gz"])
def test_labels_from_array_files(tmp_path, name):
    plain = {"l.npy": write_npy, "l.npz": write_npz, "l.h5": write_h5, "l-idx1-ubyte": write_idx}
    plain.get(name, write_idx_gz)(tmp_path / name, np.array([4, 0, 9], np.uint8))
    assert load_labels(tmp_path / name).numbers.tolist() == [4, 0, 9]


def test_names_in_hdf5_of_fixed_and_of_any_length(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["any"] = ["dog", "é", "a longer one"]
        file["fixed"] = np.array([b"dog", b"cat", b"dog"])
    assert load_labels(tmp_path / "a.h5", member="any").names == ("a longer one", "dog", "é")
    assert load_labels(tmp_path / "a.h5", member="fixed").numbers.tolist() == [1, 0, 1]


def test_class_names_can_be_given():
    assert load_labels([1, 0], classes=["cat", "dog"]).class_to_idx == {"cat": 0, "dog": 1}
    assert load_labels(["dog"], classes=["emu", "dog"]).numbers.tolist() == [1]
    with pytest.raises(InputError, match="'cow' is not one of"):
        load_labels(["cow"], classes=["dog"])
    with pytest.raises(InputError, match="run from 0 to 2, classes= has 2 names"):
        load_labels([0, 2], classes=["a", "b"])
    with pytest.raises(ConfigError, match="must be different strings"):
        load_labels([0], classes=["a", "a"])
    with pytest.raises(ConfigError, match="give labels= too"):
        ArraySource(values(), classes=["a"])


def test_lengths_must_agree(tmp_path):
    np.save(tmp_path / "a.npy", values())
    with pytest.raises(InputError, match=r"a\.npy has 20 samples, labels has 19"):
        ArraySource(tmp_path / "a.npy", labels=np.zeros(19, int))
