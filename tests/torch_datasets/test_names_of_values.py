"""The names of a sample's values: image, label, mask, or those that it has."""

from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image

from shardwright.base.errors import InputError
from shardwright.torch_datasets.source import name_values
from tests.torch_datasets.samples import IDS, PICTURE


class Photo(NamedTuple):
    photo: Any
    number: int


@pytest.mark.parametrize(
    ("sample", "names"),
    [
        (PICTURE, ["image"]),
        ((PICTURE,), ["image"]),
        ((PICTURE, 3), ["image", "label"]),
        ([PICTURE, 3], ["image", "label"]),
        ((PICTURE, None), ["image", "label"]),
        ((PICTURE, [1, 0, 0]), ["image", "label"]),
        ((PICTURE, torch.zeros(10)), ["image", "label"]),
        ((PICTURE, Image.new("L", (2, 3))), ["image", "mask"]),
        ((PICTURE, IDS), ["image", "mask"]),
        ((PICTURE, torch.from_numpy(IDS)), ["image", "mask"]),
        ((PICTURE, IDS, 3, "text"), ["image", "mask", "field_2", "field_3"]),
        ((PICTURE, 1, IDS), ["image", "label", "field_2"]),
        (Photo(PICTURE, 3), ["photo", "number"]),
        ({"x": PICTURE, "y": 3}, ["x", "y"]),
    ],
)
def test_values_get_names(sample, names):
    named = name_values(sample)
    assert list(named) == names
    values = sample.values() if isinstance(sample, dict) else sample
    values = list(values) if isinstance(values, (tuple, list, type({}.values()))) else [values]
    assert all(a is b for a, b in zip(named.values(), values, strict=True))


def test_a_dict_is_copied_so_that_the_sample_stays_as_it_was():
    sample = {"x": 1}
    name_values(sample)["y"] = 2
    assert sample == {"x": 1}


@pytest.mark.parametrize(
    ("sample", "message"),
    [((), "empty tuple"), ({}, "empty dict"), ({0: PICTURE}, r"the key 0 \(int\)")],
)
def test_samples_without_names_are_refused(sample, message):
    with pytest.raises(InputError, match=message):
        name_values(sample)
