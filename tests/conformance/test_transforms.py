"""transform, target_transform and transforms, as with torchvision's datasets."""

import numpy as np
import pytest
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from shardwright.base.errors import ConfigError
from tests.conformance.tools import Store, numbered, picture


def test_transform_gets_the_image_and_target_transform_the_label(store: Store):
    reader = store.open(store.numbers, transform=np.asarray, target_transform=lambda label: -label)
    image, label = reader[7]
    assert np.array_equal(image, np.asarray(picture(7, size=(8, 12))))
    assert label == -7


def test_transforms_gets_all_values_together(store: Store):
    reader = store.open(store.numbers, transforms=lambda image, label: (label, image.size))
    assert reader[3] == (3, (12, 8))


def test_both_at_once_are_refused(store: Store):
    with pytest.raises(ConfigError, match="transforms"):
        store.open(store.numbers, transform=np.asarray, transforms=lambda *values: values)


def test_dict_samples_have_their_image_and_label_transformed(store: Store):
    samples = [{"label": n, "image": image, "weight": 0.5} for image, n in numbered(3)]
    path = store.convert(samples, "dicts", overwrite=True)
    sample = store.open(path, transform=lambda image: image.size, target_transform=str)[2]
    assert sample == {"label": "2", "image": (12, 8), "weight": 0.5}
    assert store.open(path, transforms=sorted)[0] == ["image", "label", "weight"]


def test_an_exception_in_a_transform_leaves_the_reader_usable(store: Store):
    """Fault 74, in part."""
    reader = store.open(store.numbers, transform=lambda image: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reader[0]
    reader.transform = None
    assert reader[1][1] == 1


def test_torchvision_transforms_and_default_collate(store: Store):
    flow = Compose([Resize((6, 6)), ToTensor(), Normalize([0.5] * 3, [0.5] * 3)])
    images, labels = next(iter(DataLoader(store.open(store.numbers, transform=flow), batch_size=4)))
    assert tuple(images.shape) == (4, 3, 6, 6)
    assert labels.tolist() == [0, 1, 2, 3]


def test_repr_says_what_is_in_it(store: Store):
    text = repr(store.open(store.photos, transform=ToTensor()))
    for part in ("12 samples", "3 shards", "image (image)", "label (class_label)", "classes: 3", "ToTensor"):
        assert part in text
