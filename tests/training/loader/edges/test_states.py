"""States of an epoch that ended early, or by an error."""

import pytest

from shardwright.training.loader import ThreadedLoader
from shardwright.training.samplers import GlobalSampler
from tests.training.loader.edges.arrays import COUNT


class Stops:
    """Raises once for sample 9."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        if index == 9 and self.error:
            error, self.error = self.error, None
            raise error
        return index


@pytest.mark.parametrize("error", [KeyError("lost"), KeyboardInterrupt()])
@pytest.mark.parametrize("num_threads", [0, 2])
def test_a_state_after_an_error_goes_on_at_the_batch_that_failed(error, num_threads):
    loader = ThreadedLoader(Stops(error), 4, num_threads=num_threads)
    taken = []
    with pytest.raises(type(error)):
        taken += (batch.tolist() for batch in loader)
    state = loader.state_dict()
    assert (state["epoch"], state["batches"]) == (0, 2)
    loader.load_state_dict(state)
    assert [batch.tolist() for batch in loader] == [[8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19]]


def test_a_state_after_close_is_of_the_epoch_that_was_left(raw):
    loader = ThreadedLoader(raw, 4)
    iterator = iter(loader)
    next(iterator)
    iterator.close()
    state = loader.state_dict()
    assert (state["epoch"], state["batches"]) == (0, 1)


@pytest.mark.parametrize("sampled", [False, True])
def test_set_epoch_of_the_epoch_that_was_loaded_keeps_the_place(raw, sampled):
    def loader():
        sampler = GlobalSampler(raw, seed=1, rank=0, num_replicas=1) if sampled else None
        return ThreadedLoader(raw, 4, shuffle=not sampled, sampler=sampler, seed=1, num_threads=0)

    first = loader()
    first.set_epoch(2)
    iterator = iter(first)
    seen = [next(iterator)[1].tolist() for _ in range(2)]
    again = loader()
    again.load_state_dict(first.state_dict())
    again.set_epoch(2)
    rest = [labels.tolist() for _, labels in again]
    assert len(rest) == 3
    assert sorted(label for labels in seen + rest for label in labels) == list(range(COUNT))
    again.load_state_dict(first.state_dict())
    again.set_epoch(3)
    assert len(list(again)) == 5
