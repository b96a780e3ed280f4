"""Which labels get class names, and where the names come from."""

import numpy as np
import pytest
import torch
from torch.utils.data import Subset
from torchvision import datasets as tv

from shardwright.base.open_source import open_source
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
def test_a_label_beyond_the_classes_has_no_name(label):
    """Fault 32."""
    assert DatasetSource(Items([(PICTURE, label)], classes=["cat", "dog"])).fields == {}


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
