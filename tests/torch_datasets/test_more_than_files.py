"""A dataset that does more than open image files is read by its samples, not by its files."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset
from torchvision import datasets as tv

from shardwright.base.errors import InputError
from shardwright.base.open_source import open_source
from shardwright.torch_datasets.source import DatasetSource
from shardwright.torch_datasets.torchvision_files import LABELLED, FolderLikeSource, files_of
from tests.torch_datasets.samples import Inverted, with_samples


class Changed(tv.ImageFolder):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image.rotate(90), label


class Shorter(tv.ImageFolder):
    def __len__(self):
        return 2


class ShorterSubset(Subset):
    def __len__(self):
        return 1


def identity(value):
    return value


def grey_loader(path):
    with Image.open(path) as image:
        return image.convert("L")


@pytest.mark.parametrize(
    "make",
    [
        lambda root: tv.ImageFolder(root, transform=identity),
        lambda root: tv.ImageFolder(root, target_transform=identity),
        lambda root: tv.ImageFolder(root, transform=torch.nn.Sequential()),
        lambda root: tv.ImageFolder(root, loader=grey_loader),
        lambda root: tv.DatasetFolder(root, np.fromfile, extensions=(".png",)),
        Changed,
        Shorter,
        lambda root: Inverted(tv.ImageFolder(root), [0]),
        lambda root: ShorterSubset(tv.ImageFolder(root), [0, 1]),
        lambda root: Subset(Changed(root), [0, 1]),
        lambda root: ConcatDataset([tv.ImageFolder(root)]),
        lambda root: with_samples(tv.ImageFolder(root), [(root / "cat/a.png", "cat")]),
        lambda root: Subset(tv.ImageFolder(root), [0, 5]),
        lambda root: Subset(tv.ImageFolder(root), ["0"]),
    ],
)
def test_a_dataset_that_does_more_than_open_files_is_read_by_its_samples(root, make):
    dataset = make(root)
    assert files_of(dataset, LABELLED) is None
    assert type(open_source(dataset)) is DatasetSource
    with pytest.raises(InputError, match="does more than open image files"):
        FolderLikeSource(dataset)


def test_transforms_that_are_set_later_count(root):
    folder = tv.ImageFolder(root)
    folder.transforms = identity
    assert type(open_source(folder)) is DatasetSource
