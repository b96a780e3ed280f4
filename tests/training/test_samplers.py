"""Samplers: exact coverage, the same global batches for any world size, resume anywhere."""

import numpy as np
import pytest
from torch.utils.data import BatchSampler, DataLoader

from shardwright.base.errors import ConfigError, DistributedError
from shardwright.training.samplers import GlobalSampler, block_order

SHUFFLES = ["full", "block", "none"]


def ranks_of(world: int, **options) -> list[GlobalSampler]:
    options = {"block_size": 8, "window": 32, "seed": 3} | options
    return [GlobalSampler(range(100), rank=r, num_replicas=world, **options) for r in range(world)]


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("world", [1, 2, 3, 7, 128])
def test_every_sample_is_drawn_once_over_all_ranks(shuffle: str, world: int) -> None:
    drawn = [i for sampler in ranks_of(world, shuffle=shuffle) for i in sampler]
    assert sorted(drawn) == list(range(100))


@pytest.mark.parametrize(("uneven", "length"), [("keep", {33, 34}), ("pad", {34}), ("drop", {33})])
def test_ranks_end_as_uneven_says(uneven: str, length: set[int]) -> None:
    drawn = [list(sampler) for sampler in ranks_of(3, uneven=uneven)]
    assert {len(d) for d in drawn} == length
    assert [len(s) for s in ranks_of(3, uneven=uneven)] == [len(d) for d in drawn]
    assert len({i for d in drawn for i in d}) == (99 if uneven == "drop" else 100)


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_global_batches_do_not_depend_on_the_number_of_ranks(shuffle: str) -> None:
    whole = list(BatchSampler(ranks_of(1, shuffle=shuffle)[0], 12, drop_last=False))
    for world in (2, 3, 4):
        parts = [list(BatchSampler(s, 12 // world, drop_last=False)) for s in ranks_of(world, shuffle=shuffle)]
        steps = [sorted(i for batch in step for i in batch) for step in zip(*parts, strict=False)]
        assert steps[:8] == [sorted(batch) for batch in whole[:8]]


def test_epochs_differ_and_repeat() -> None:
    (sampler,) = ranks_of(1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert first == list(sampler) != second


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 3), (3, 1), (1, 4)])
def test_resume_in_the_middle_of_an_epoch_sees_the_rest_once(shuffle: str, before: int, after: int) -> None:
    samplers = ranks_of(before, shuffle=shuffle)
    for sampler in samplers:
        sampler.set_epoch(2)
    iterators = [iter(s) for s in samplers]
    seen = [next(it) for _ in range(9) for it in iterators]
    states = [s.state_dict() for s in samplers]
    assert all(state == states[0] for state in states)
    resumed = ranks_of(after, shuffle=shuffle)
    rest = []
    for sampler in resumed:
        sampler.load_state_dict(states[0])
        length, drawn = len(sampler), list(sampler)
        assert length == len(drawn)
        rest += drawn
        assert len(list(sampler)) in (100 // after, 100 // after + 1)  # the epoch after that is whole
    assert sorted(seen + rest) == list(range(100))


def test_resume_twice_within_one_epoch() -> None:
    (sampler,) = ranks_of(1)
    order = list(sampler)
    state = None
    got: list[int] = []
    for count in (10, 20, 100):
        (sampler,) = ranks_of(1)
        if state is not None:
            sampler.load_state_dict(state)
        got += [i for _, i in zip(range(count), sampler, strict=False)]
        state = sampler.state_dict()
    assert got == order


def test_consumed_says_what_a_prefetching_loader_has_delivered() -> None:
    (sampler,) = ranks_of(1)
    loader = DataLoader(range(100), batch_size=4, sampler=sampler, num_workers=1, prefetch_factor=4)
    batches = iter(loader)
    seen = [i for _ in range(3) for i in next(batches).tolist()]
    del batches
    state = sampler.state_dict(consumed=12)
    (resumed,) = ranks_of(1)
    resumed.load_state_dict(state)
    assert sorted(seen + list(resumed)) == list(range(100))


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata calls it
def test_torchdata_resumes_it() -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")

    def loader() -> object:
        return stateful.StatefulDataLoader(range(100), batch_size=5, sampler=ranks_of(1)[0], num_workers=2)

    whole = [batch.tolist() for batch in loader()]
    first = loader()
    batches = iter(first)
    seen = [next(batches).tolist() for _ in range(7)]
    state = first.state_dict()
    del batches
    second = loader()
    second.load_state_dict(state)
    assert seen + [batch.tolist() for batch in second] == whole


def test_block_order_reads_near_neighbours_and_still_mixes() -> None:
    order = block_order(100_000, 100, 2_000, np.random.default_rng(0))
    assert np.array_equal(np.sort(order), np.arange(100_000))
    windows = order[:98_000].reshape(-1, 2_000)
    assert max(len(np.unique(w // 100)) for w in windows) <= 22
    # A uniform permutation moves a sample by a third of the set on average.
    assert 0.28 < np.abs(order - np.arange(100_000)).mean() / 100_000 < 0.38
    assert np.corrcoef(order[:-1], order[1:])[0, 1] < 0.2 or len(np.unique(windows[0] // 100)) >= 20


def test_wrong_arguments_say_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="'full', 'block', 'none'"):
        GlobalSampler(range(3), shuffle="blocks")
    with pytest.raises(DistributedError, match="rank 2 of 2"):
        GlobalSampler(range(3), rank=2, num_replicas=2)
    state = GlobalSampler(range(3), seed=1).state_dict()
    with pytest.raises(ConfigError, match="seed=1"):
        GlobalSampler(range(3), seed=2).load_state_dict(state)


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_stopped_at_every_tenth_batch_by_another_world_each_time_three_epochs_are_whole(
    shuffle: str, world: int
) -> None:
    def steps(samplers: list[GlobalSampler]) -> list[list[int]]:
        """The global batches of two samples per rank."""
        parts = [list(BatchSampler(s, 2, drop_last=False)) for s in samplers]
        longest = max(map(len, parts))
        return [[i for part in parts if step < len(part) for i in part[step]] for step in range(longest)]

    for epoch in range(3):
        undisturbed, seen, state, worlds = ranks_of(1, shuffle=shuffle)[0], list[int](), None, [world, 5, 1, 4]
        undisturbed.set_epoch(epoch)
        for number in range(100):
            samplers = ranks_of(worlds[number % 4], shuffle=shuffle)
            for sampler in samplers:
                sampler.load_state_dict(state) if state else sampler.set_epoch(epoch)
            batches = steps(samplers)
            seen += [i for batch in batches[:10] for i in batch]
            state = samplers[0].state_dict(consumed=20)  # 10 batches of 2
            if len(batches) <= 10:
                break
        assert len(seen) == 100
        assert sorted(seen) == list(range(100))
        assert sorted(seen) == sorted(undisturbed)


def test_consumed_counts_from_where_a_resumed_epoch_began_though_the_loader_has_read_to_its_end() -> None:
    (sampler,) = ranks_of(1)
    order = list(sampler)
    sampler.load_state_dict({"epoch": 0, "position": 60, "seed": 3, "num_samples": 100})
    assert list(sampler) == order[60:]  # a loader that reads ahead has drawn everything by now
    state = sampler.state_dict(consumed=10)
    assert state["position"] == 70
    sampler.load_state_dict(state)
    assert list(sampler) == order[70:]


@pytest.mark.parametrize("batch_size", [30, 50])  # a last batch that is smaller, and one that is not
@pytest.mark.parametrize("world", [1, 2])
def test_a_state_of_the_last_batch_does_not_begin_its_epoch_anew(world: int, batch_size: int) -> None:
    sampler, resumed = ranks_of(world)[0], ranks_of(1)[0]
    sampler.set_epoch(3)
    states = [sampler.state_dict() for _ in BatchSampler(sampler, batch_size, drop_last=False)]
    for state in (states[-1], sampler.state_dict()):
        assert (state["epoch"], state["position"]) == (3, 100)
        resumed.load_state_dict(state)
        resumed.set_epoch(3)
        assert list(resumed) == []
        resumed.load_state_dict(state)
        resumed.set_epoch(4)
        assert len(list(resumed)) == 100
