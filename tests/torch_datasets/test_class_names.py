"""Which labels get class names, and where the names come from."""

import os
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset
from torchvision import datasets as tv

from shardwright.base.errors import InputError
from shardwright.base.fields import Field  # noqa: F401  # evaluated by name
from shardwright.base.open_source import open_source
from shardwright.parquet.converter import ParquetConverter
from shardwright.parquet.reader import ParquetReader
from shardwright.torch_datasets.source import DatasetSource
from tests.torch_datasets.samples import PICTURE, Inverted, Items, pets


@pytest.mark.parametrize("label", [1, 0, np.int8(1), torch.tensor(1), np.array([1, 0])[0]])
def test_classes_name_integer_labels(label):
    """Fault 32: the value goes on as it is."""
    source = DatasetSource(Items([(PICTURE, label)], classes=["cat", "dog"]))
    assert source.fields["label"].kind == "class_label"
    assert source.fields["label"].names == ("cat", "dog")
    assert source[0]["label"] is label


@pytest.mark.parametrize("label", [2.7, None, "cat", True, torch.tensor(1.0), torch.tensor([0, 1]), np.array([0, 1])])
def test_other_labels_are_left_to_inference(label):
    """Fault 32."""
    source = DatasetSource(Items([(PICTURE, label)], classes=["cat", "dog"]))
    assert source.fields == {}
    assert source[0]["label"] is label


@pytest.mark.parametrize("classes", [None, [], "cat dog", [1, 2], 2, {"cat": 0}, ["cat", None]])
def test_classes_that_are_no_names_are_left_out(classes):
    assert DatasetSource(Items([(PICTURE, 1)], classes=classes)).fields == {}


@pytest.mark.parametrize("label", [2, -2, 2**63])
def test_a_label_beyond_the_classes_is_an_error_whose_advice_works(label, tmp_path):
    """Fault 32: names never drop out in silence."""
    data = Items([(PICTURE, label)], classes=["cat", "dog"])
    assert DatasetSource(data).fields["label"].names == ("cat", "dog")
    with pytest.raises(InputError, match=rf"class number {label} has no name: there are 2.*classes=\[") as caught:
        ParquetConverter(data, tmp_path, num_workers=0).convert()
    if label == 2:
        ParquetConverter(data, tmp_path / "named", num_workers=0, classes=["cat", "dog", "eel"]).convert()
        assert ParquetReader(tmp_path / "named").class_to_idx == {"cat": 0, "dog": 1, "eel": 2}
    if label < 2**63:
        advice = re.search(r"fields=(\[.*?\)\])", str(caught.value))[1]
        ParquetConverter(data, tmp_path / "int", num_workers=0, fields=eval(advice)).convert()
        assert ParquetReader(tmp_path / "int")[0][1] == label


class Own(Items):
    """A dataset with numbers of its own."""

    def __init__(self, samples, classes, numbers):
        super().__init__(samples, classes=classes)
        self.class_to_idx = numbers


@pytest.mark.parametrize(
    ("classes", "numbers", "names"),
    [
        (["0", "1", "10", "2"], {"0": 0, "1": 1, "10": 10, "2": 2}, ("0", "1", "2", *map(str, range(3, 11)))),
        (["b", "a"], {"a": 0, "b": 1}, ("a", "b")),  # the numbers rule, not the order of the list
        (["a", "b"], {"a": 0, "b": 1}, ("a", "b")),
        (None, {"a": 1, "b": 0}, ("b", "a")),
        (["eel"], {"eel": 0, "conger": 0, "dog": 1}, ("eel, conger", "dog")),  # several names for a number
        ([("eel", "conger"), ("dog",)], {"eel": 0, "conger": 0, "dog": 1}, ("eel, conger", "dog")),
        (["x", "y"], {"x": 0, "y": 3}, ("x", "1", "2", "y")),  # gaps
        (["1", "y"], {"1": 0, "y": 2}, ("1", "class 1", "y")),
        (["a", "b"], {"a": "0"}, ("a", "b")),  # not numbers: no rule
    ],
)
def test_a_datasets_own_class_to_idx_rules(classes, numbers, names):
    source = DatasetSource(Own([(PICTURE, 0)], classes, numbers))
    assert source.fields["label"].names == names
    assert source.labels_from == "the classes of the Own"


def test_overridden_find_classes_rules_file_by_file_and_sample_by_sample(tmp_path):
    class Numbered(tv.ImageFolder):
        def find_classes(self, directory):
            names = sorted(os.listdir(directory))
            return names, {name: int(name) for name in names}

    class Other(Numbered):
        def __getitem__(self, index):
            return super().__getitem__(index)

    for number in range(12):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        Image.new("RGB", (4, 4), (number,) * 3).save(tmp_path / "in" / str(number) / "a.png")
    for kind in (Numbered, Other):
        ParquetConverter(kind(tmp_path / "in"), tmp_path / kind.__name__, num_workers=0).convert()
        reader = ParquetReader(tmp_path / kind.__name__)
        assert reader.class_to_idx == {str(n): n for n in range(12)}
        assert [reader.classes[label] for _, label in reader] == [str(image.getpixel((0, 0))[0]) for image, _ in reader]


def test_names_that_cannot_be_used_are_told(root):
    folder = tv.ImageFolder(root)
    folder.target_transform = lambda label: 1 - label
    assert any("class names of the dataset, not used" in reason for reason in open_source(folder).ignored)
    assert not open_source(tv.ImageFolder(root)).ignored


def test_labels_that_are_made_anew_have_no_names(root):
    folder = tv.ImageFolder(root)
    folder.target_transform = lambda label: 1 - label
    assert open_source(folder).fields == {}
    assert open_source(Inverted(tv.ImageFolder(root), [0])).fields == {}
    pet = pets(root)
    pet.classes, pet._bin_labels, pet._target_types = ["a", "b"], [0, 1], ["binary-category"]
    assert open_source(pet)[1]["label"] == 1
    assert open_source(pet).fields == {}


def test_classes_with_several_names_each_are_joined():
    classes = [("tench", "Tinca tinca"), ("goldfish",)]
    source = DatasetSource(Items([(PICTURE, 1)], classes=classes))
    assert source.fields["label"].names == ("tench, Tinca tinca", "goldfish")


def test_a_subset_has_the_classes_of_its_dataset():
    inner = Items([(PICTURE, 0), (PICTURE, 1)], classes=["a", "b"])
    source = open_source(Subset(Subset(inner, [1, 0]), [0]))
    assert source.fields["label"].names == ("a", "b")
    assert source[0]["label"] == 1
    assert source.content() == {"num_samples": 1, "dataset": "Items"}


def test_joined_datasets_must_have_the_same_classes(tmp_path):
    cats = Items([(PICTURE, 0)], classes=["cat", "dog"])
    same = ConcatDataset([cats, Items([(PICTURE, 1)], classes=["cat", "dog"])])
    assert open_source(same).fields["label"].names == ("cat", "dog")
    for other in (Items([(PICTURE, 0)], classes=["bird", "eel"]), Items([(PICTURE, 0)], classes=None)):
        with pytest.raises(InputError, match="the same number would mean different classes"):
            open_source(ConcatDataset([cats, other]))
        with pytest.raises(InputError, match="different classes"):
            open_source(Subset(ConcatDataset([other, cats]), [0]))
    plain = [Items([(PICTURE, 0)], classes=None)] * 2
    assert open_source(ConcatDataset(plain)).fields == {}
