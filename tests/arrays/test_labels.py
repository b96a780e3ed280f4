"""Labels: from numbers, names, one-hot rows, text and array files to class numbers."""

import h5py
import numpy as np
import pytest

from shardwright.arrays.labels import load_labels
from shardwright.arrays.source import ArraySource
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.index_files import index_files
from shardwright.base.reader import open_reader
from shardwright.parquet.converter import ParquetConverter
from tests.arrays.files import values, write_h5, write_idx, write_idx_gz, write_npy, write_npz


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        ([2, 0, 1], [2, 0, 1], None),
        ([-1, 0, 2**62], [-1, 0, 2**62], None),
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
        (np.array([0, 2**63], np.uint64), "label 1 is 9223372036854775808"),
        ([1j, 2], "dtype complex128"),
        ([None, 1], "Python objects"),
        ([1, "cat"], "mix names and numbers"),
        ([[1], [2, 3]], "different lengths"),
        ([[0, 1], [1, 2]], "row 1 is neither one-hot nor of 0 and 1"),
        ([[0.5, 0.5]], "row 0 is neither one-hot"),
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


@pytest.mark.parametrize(
    ("labels", "kind", "numbers"),
    [
        ([0, 2.7, 1], "float", [0, 2.7, 1]),
        (np.array([2.0, 0.0, 1.0]), "float", [2, 0, 1]),  # arrays follow their dtype
        ([0, float("nan")], "float", [0, np.nan]),
        ([0.0, 2.0**63], "float", [0, 2.0**63]),
        ([[0, 1], [1, 1]], "array", [[0, 1], [1, 1]]),  # several labels per sample
        ([[0, 1], [0, 0]], "array", [[0, 1], [0, 0]]),
        (np.array([[1.0, 1.0], [1.0, 0.0]]), "array", [[1, 1], [1, 0]]),
        (["dog", "", "cat"], "class_label", [1, -1, 0]),  # a missing one
        (np.array([[[[2]]], [[[1]]]]), "int", [2, 1]),
    ],
)
def test_other_labels_keep_their_meaning(labels, kind, numbers):
    found = load_labels(labels)
    assert found.kind == kind
    assert np.array_equal(found.numbers, numbers, equal_nan=kind == "float")


def test_a_row_of_labels_is_a_column_where_that_is_what_fits():
    assert load_labels(np.array([[3, 1, 2]]), count=3).numbers.tolist() == [3, 1, 2]
    assert load_labels(np.array([[0, 0, 1]]), count=1).numbers.tolist() == [2]  # one one-hot row


@pytest.mark.parametrize(
    ("cells", "kind", "numbers", "names"),
    [
        (["3", "3.0", "-1"], "int", [3, 3, -1], None),
        (["3", "", "1"], "int", [3, -1, 1], None),
        (["0.1", "3", "nan"], "float", [0.1, 3, np.nan], None),
        (["0.1", "", "2"], "float", [0.1, np.nan, 2], None),
        (["1e3", "2"], "float", [1000, 2], None),
        (["cat", "", "dog"], "class_label", [0, -1, 1], ("cat", "dog")),
        (["007", "7"], "class_label", [0, 1], ("007", "7")),  # two names, not one number
        (["1", "b"], "class_label", [0, 1], ("1", "b")),
        (["1_000", "2"], "class_label", [0, 1], ("1_000", "2")),
        (["inf", "2"], "class_label", [1, 0], ("2", "inf")),
        (["9" * 30, "1"], "float", [1e30, 1], None),
    ],
)
def test_columns_of_text(tmp_path, cells, kind, numbers, names):
    (tmp_path / "a.csv").write_text("file,label\n" + "".join(f"x,{cell}\n" for cell in cells))
    found = load_labels(tmp_path / "a.csv")
    assert (found.kind, found.names) == (kind, names)
    assert np.array_equal(found.numbers, numbers, equal_nan=kind == "float")


def test_classes_make_whole_fractions_numbers():
    assert load_labels(np.array([1.0, np.nan, 0.0]), classes=["a", "b"]).numbers.tolist() == [1, -1, 0]
    with pytest.raises(InputError, match=r"label 1 is 0\.5"):
        load_labels(np.array([1.0, 0.5]), classes=["a", "b"])


@pytest.mark.parametrize("kind", ["whole", "fractions", "missing", "several", "column", "names"])
def test_the_same_values_give_the_same_everywhere(tmp_path, kind):
    """In .npy, .npz, HDF5 and in memory; converted and indexed."""
    y = {
        "whole": np.array([2, 0, 1, 2], np.int32),
        "fractions": np.array([0.1, 2.0, -3.5, 10.25]),
        "missing": np.array([0.5, np.nan, 1.0, 2.0]),
        "several": np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 1]], np.uint8),
        "column": np.array([[2], [0], [1], [2]], np.int64),
        "names": np.array(["b", "a", "c", "b"]),
    }[kind]
    x = np.arange(4 * 5 * 7, dtype=np.uint8).reshape(4, 5, 7)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = x, y.astype("S1") if kind == "names" else y
    inputs = [ArraySource(x, y), tmp_path / "x.npy", tmp_path / "a.npz", tmp_path / "a.h5"]
    readers = []
    for number, data in enumerate(inputs):
        ParquetConverter(data, tmp_path / str(number), num_workers=0).convert()
        readers.append(open_reader(tmp_path / str(number), output="numpy"))
        if number and kind != "several":
            index_files(data, tmp_path / f"index{number}")
            readers.append(open_reader(tmp_path / f"index{number}", output="numpy", data_path=tmp_path))
    wanted = np.unique(y, return_inverse=True)[1] if kind == "names" else np.squeeze(y)
    for reader in readers:
        samples = [reader[i] for i in range(4)]
        labels = [s["label"] if isinstance(s, dict) else s[1] for s in samples]
        assert np.array_equal(labels, wanted, equal_nan=y.dtype.kind == "f")
        assert reader.fields[1].kind == readers[0].fields[1].kind
        assert reader.classes == (["a", "b", "c"] if kind == "names" else [])


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
