"""Epochs, seeds and states: a loader goes on where another stopped."""

import pytest
import torch
from torch.utils.data import BatchSampler

from shardwright.base.errors import ConfigError
from shardwright.training.loader import ThreadedLoader
from shardwright.training.samplers import GlobalSampler
from shardwright.training.transforms import TrainTransform
from tests.training.loader.photos import flat, same


@pytest.mark.parametrize("taken", [0, 1, 4, 6])
def test_resume_goes_on_with_the_same_batches(jpeg, taken):
    words = {"batch_size": 8, "shuffle": True, "transform": TrainTransform(16), "num_threads": 2}
    first = ThreadedLoader(jpeg, seed=5, **words)
    list(first)
    iterator = iter(first)
    for _ in range(taken):
        next(iterator)
    state = first.state_dict()
    assert state == {"seed": 5, "epoch": 1, "batches": taken}
    rest = list(iterator)
    resumed = ThreadedLoader(jpeg, seed=99, **words)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    again = list(resumed)
    assert len(again) == len(rest) == 6 - taken
    assert all(same(a, b) for a, b in zip(again, rest, strict=True))
    assert same(flat(first), flat(resumed))  # and so does the next epoch


def test_a_state_after_an_epoch_begins_the_next(raw):
    loader = ThreadedLoader(raw, 8, seed=1)
    list(loader)
    assert loader.state_dict() == {"seed": 1, "epoch": 1, "batches": 0}
    with pytest.raises(ConfigError, match="entries seed, epoch and batches"):
        loader.load_state_dict({"epoch": 1})


def test_set_epoch_repeats_an_epoch_and_tells_the_sampler(raw):
    loader = ThreadedLoader(raw, 8, shuffle=True, seed=1)
    first = flat(loader)
    loader.set_epoch(0)
    assert same(flat(loader), first)
    sampler = GlobalSampler(raw, seed=3, rank=0, num_replicas=2)
    for words in ({"sampler": sampler, "batch_size": 8}, {"batch_sampler": BatchSampler(sampler, 8, False)}):
        ThreadedLoader(raw, **words).set_epoch(4)
        assert sampler.epoch == 4
        sampler.set_epoch(0)


def test_the_generator_gives_the_seed(raw):
    seeds = [ThreadedLoader(raw, generator=torch.Generator().manual_seed(s)).seed for s in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]
    torch.manual_seed(3)
    by_default = ThreadedLoader(raw).seed
    torch.manual_seed(3)
    assert ThreadedLoader(raw).seed == by_default
