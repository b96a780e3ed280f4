"""Indices: whole numbers of any type, none at all, and what is no index."""

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from shardwright.training.loader import ThreadedLoader
from shardwright.training.transforms import TrainTransform
from tests.training.loader.edges.arrays import COUNT, within


@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize("indices", [[0.0, 1.0, 2.0], [True, False, True], ["a", "b"]])
def test_what_is_no_whole_number_is_no_index_of_a_reader(raw, indices, subset):
    dataset = Subset(raw, range(3)) if subset else raw
    with pytest.raises(TypeError, match="whole numbers"):
        list(ThreadedLoader(dataset, 4, sampler=indices, num_threads=0))


@pytest.mark.parametrize("indices", [[True, False, True], [0.5, 2.7], torch.tensor([True, False])])
def test_what_is_no_whole_number_is_no_index_of_a_subset(raw, indices):
    with pytest.raises(TypeError, match="whole numbers"):
        ThreadedLoader(Subset(raw, indices), 4)


def test_indices_of_any_integer_type_are_taken(raw):
    wanted = raw.targets[[3, 19, 0, 19]].tolist()
    for indices in (
        [3, -1, 0, 19],
        np.array([3, -1, 0, 19], np.int8),
        [np.int64(3), np.int8(-1), 0, 19],
        torch.tensor([3, -1, 0, 19]),
        list(torch.tensor([3, -1, 0, 19])),
    ):
        for dataset, sampler in ((raw, indices), (Subset(raw, indices), None), (Subset(raw, range(COUNT)), indices)):
            [(_, labels)] = ThreadedLoader(dataset, 4, sampler=sampler, num_threads=0)
            assert labels.tolist() == wanted


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("transform", [None, TrainTransform(4)])
def test_an_empty_batch_is_a_batch(raw, num_threads, transform):
    loader = ThreadedLoader(raw, batch_sampler=[[0, 1], [], [2]], num_threads=num_threads, transform=transform)
    assert [labels.tolist() for _, labels in within(30, lambda: list(loader))] == [[0, 1], [], [2]]
