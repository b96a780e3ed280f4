"""Datasets that the tests make, in memory and of torchvision's classes."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision import datasets as tv

PICTURE = Image.new("RGB", (2, 3))
IDS = np.zeros((3, 2), np.uint8)


class Items(Dataset):
    """Samples from a list; an exception in it is raised."""

    def __init__(self, items, **attributes):
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        if isinstance(item, BaseException):
            raise item
        return item


def stored(source):
    return [(source[i]["image"].data, source[i]["label"]) for i in range(len(source))]


def on_disk(pairs):
    return [(Path(path).read_bytes(), label) for path, label in pairs]


class Inverted(Subset):
    def __getitem__(self, index):
        return self.dataset[index][0], 1 - self.dataset[index][1]

    def __getitems__(self, indices):
        return [self[i] for i in indices]


def with_samples(folder, samples):
    folder.samples = samples
    return folder


def bare(name, root, **attributes):
    """A dataset of torchvision as its constructor would leave it, without its download."""
    cls = getattr(tv, name)
    dataset = cls.__new__(cls)
    tv.VisionDataset.__init__(dataset, str(root))
    dataset.__dict__.update(attributes)
    return dataset


TWO = ["cat/a.png", "dog/b.png"]


def pets(root):
    images = [root / p for p in TWO]
    return bare("OxfordIIITPet", root, _images=images, _labels=[0, 1], _target_types=["category"])
