"""A reader is a sequence: the indices that work, and those that must not."""

import numpy as np
import pytest
import torch

from tests.conformance.tools import Store, same_as_numbered


def test_negative_indices_count_from_the_end(store: Store):
    """Fault 44."""
    reader = store.open(store.numbers)
    assert same_as_numbered([reader[-1], reader[-23], reader[-5]], [22, 0, 18])


def test_numpy_and_torch_integers_are_indices(store: Store):
    """Fault 44."""
    reader = store.open(store.numbers)
    kinds = (np.int64, np.int32, np.uint8, np.int16)
    assert same_as_numbered([reader[kind(6)] for kind in kinds], [6] * 4)
    assert same_as_numbered([reader[torch.tensor(6)]], [6])


@pytest.mark.parametrize("index", [23, -24, 2**40, -(2**40), 2**63 - 1])
def test_indices_out_of_range_name_the_length(store: Store, index: int):
    """Fault 44."""
    reader = store.open(store.numbers)
    with pytest.raises(IndexError, match="23"):
        reader[index]


@pytest.mark.parametrize("index", ["0", 1.0, None, slice(0, 2), [0, 1], (0,), True])
def test_other_indices_are_type_errors(store: Store, index: object):
    """Fault 44: what is no whole number is refused; a list of numbers goes to `__getitems__`."""
    reader = store.open(store.numbers)
    with pytest.raises(TypeError):
        reader[index]


def test_iteration_gives_every_sample_once_and_ends(store: Store):
    reader = store.open(store.numbers)
    assert same_as_numbered(list(reader), range(23))
    assert same_as_numbered(list(reversed(reader)), range(22, -1, -1))


def test_plain_indexing_ends_with_index_error(store: Store):
    """What `for` does with a class that has `__getitem__` only."""
    reader = store.open(store.numbers)
    with pytest.raises(IndexError):
        reader[len(reader)]
    found = [label for _, label in map(reader.__getitem__, range(len(reader)))]
    assert found == list(range(23))


def test_getitems_keeps_the_order_that_was_asked_for(store: Store):
    reader = store.open(store.numbers)
    wanted = [22, 0, 7, 7, 6, 5, -1, 4, 20, 21, 3]
    assert same_as_numbered(reader.__getitems__(wanted), [n % 23 for n in wanted])
    assert reader.__getitems__([]) == []
    assert same_as_numbered(reader.__getitems__(np.array([3, 1])), [3, 1])


def test_the_last_sample_of_every_shard_is_its_own(store: Store):
    reader = store.open(store.numbers)
    edges = [4, 5, 9, 10, 14, 15, 19, 20, 22]
    assert same_as_numbered([reader[n] for n in edges], edges)
    assert same_as_numbered(reader.__getitems__(edges[::-1]), edges[::-1])


def test_read_columns_fills_the_given_array(store: Store):
    reader = store.open(store.numbers)
    wanted = [20, 3, 11]
    columns = reader.read_columns(wanted)
    assert columns["label"].tolist() == wanted
    images = columns["image"]
    assert len(images) == 3
    if store.fixed:
        out = np.empty_like(images)
        assert reader.read_columns(wanted, out={"image": out})["image"] is out
        assert np.array_equal(out, images)
