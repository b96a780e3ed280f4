"""A dataset is read sample by sample, as it is; what it raises is left to the caller."""

import pytest

from shardwright.base.errors import InputError
from shardwright.base.open_source import open_source
from shardwright.torch_datasets.source import DatasetSource
from tests.torch_datasets.samples import PICTURE, Items


def test_a_dataset_is_read_as_it_is():
    source = open_source(Items([(PICTURE, 7), (PICTURE, 9)]))
    assert isinstance(source, DatasetSource)
    assert len(source) == 2
    assert source[1] == {"image": PICTURE, "label": 9}
    assert source.sample_type == "tuple"
    assert source.fields == {}
    assert source.content() == {"num_samples": 2, "dataset": "Items"}
    assert source.name(1) == "sample 1"


def test_dict_samples_are_told_from_tuples():
    source = open_source(Items([{"x": PICTURE, "label": 1}], classes=["a", "b"]))
    assert source.sample_type == "dict"
    assert source.fields["label"].names == ("a", "b")


@pytest.mark.parametrize("error", [KeyError, OSError, SystemExit, StopIteration, InputError])
def test_what_a_dataset_raises_is_left_to_the_caller(error):
    """Fault 33."""
    source = open_source(Items([error("bad"), (PICTURE, 1)]))
    assert source[1]["label"] == 1
    with pytest.raises(error, match="bad"):
        source[0]


def test_a_first_sample_without_names_is_left_to_the_caller():
    source = open_source(Items([(), (PICTURE, 1)]))
    assert source[1]["label"] == 1
    with pytest.raises(InputError, match="empty tuple"):
        source[0]


def test_the_first_good_sample_says_what_samples_are():
    source = open_source(Items([ValueError("bad"), (), {"image": PICTURE, "label": 1}], classes=["cat", "dog"]))
    assert source.sample_type == "dict"
    assert source.fields["label"].names == ("cat", "dog")


def test_an_interrupt_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        open_source(Items([KeyboardInterrupt()]))


def test_a_length_that_lies_is_met_when_the_sample_is_read():
    """Fault 34."""

    class Longer(Items):
        def __len__(self):
            return 3

    source = open_source(Longer([(PICTURE, 1)]))
    assert len(source) == 3
    with pytest.raises(IndexError):
        source[1]


def test_an_empty_dataset_has_no_samples():
    source = open_source(Items([]))
    assert (len(source), source.sample_type, source.fields) == (0, "tuple", {})
