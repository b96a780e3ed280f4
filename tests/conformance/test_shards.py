"""The edges of shards: any number of samples per file, any batch size."""

import pytest

from tests.conformance.own_library import read_shards
from tests.conformance.tools import Store, numbered, same_as_numbered

SIZES = [
    (1, 1, 2),  # samples per file, batch size, samples
    (1, 5, 3),
    (3, 2, 7),  # not a multiple
    (4, 4, 8),  # the last shard is full
    (4, 3, 9),  # the last shard has one sample
    (100, 7, 5),  # larger than the set
    (2, 100, 5),  # a batch larger than set and shard
]


@pytest.mark.parametrize(("per_file", "batch", "count"), SIZES)
def test_samples_are_the_same_for_any_edges(store: Store, per_file: int, batch: int, count: int):
    """Faults 36, 37."""
    path = store.convert(
        numbered(count), f"edges-{per_file}-{batch}-{count}", images_per_file=per_file, batch_size=batch
    )
    reader = store.open(path)
    assert same_as_numbered(list(reader), range(count))
    assert [shard.num_samples for shard in reader.manifest.shards] == [
        min(per_file, count - start) for start in range(0, count, per_file)
    ]
    assert read_shards(store.kind, store.shards(path))["label"] == list(range(count))


def test_shards_have_the_names_that_hugging_face_finds(store: Store):
    names = {path.name.partition(".")[0] for path in store.shards(store.numbers)}
    assert names == {f"train-{n:05d}-of-00005" for n in range(5)}


def test_each_shard_is_a_whole_file_of_its_own(store: Store):
    for shard in range(5):
        files = [path for path in store.shards(store.numbers) if f"-{shard:05d}-of-" in path.name]
        wanted = list(range(shard * 5, min(shard * 5 + 5, 23)))
        assert read_shards(store.kind, files)["label"] == wanted
