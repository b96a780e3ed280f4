"""Nothing is opened before it is needed, and never more than a bounded number of files."""

import os
import resource

import pytest

from tests.conformance.children import in_child
from tests.conformance.tools import Store, numbered, open_files, same_as_numbered


def test_no_shard_is_opened_before_the_first_read(store: Store):
    reader = store.open(store.numbers)
    assert (len(reader), reader.classes, reader.targets[22]) == (23, [], 22)
    assert repr(reader)
    assert open_files(store.numbers / "data") == []
    assert same_as_numbered([reader[11]], [11])
    opened = open_files(store.numbers / "data")
    assert opened
    assert all("-00002-of-" in name for name in opened)


def test_labels_alone_open_no_shard(store: Store):
    reader = store.open(store.numbers, columns=["label"])
    assert [reader[n] for n in range(23)] == list(range(23))
    assert open_files(store.numbers / "data") == []


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_files_are_kept_open_than_allowed(store: Store, limit: int):
    """Fault 127, in part."""
    reader = store.open(store.numbers, max_open_files=limit)
    for n in (0, 7, 22, 13, 19, 1):
        assert same_as_numbered([reader[n]], [n])
        assert len(open_files(store.numbers / "data")) <= limit


def test_close_closes_and_a_later_read_opens_again(store: Store):
    """Fault 75: a reader that was closed, also twice, simply opens its files again."""
    reader = store.open(store.numbers)
    assert same_as_numbered(reader.__getitems__([0, 22]), [0, 22])
    reader.close()
    reader.close()
    assert open_files(store.numbers / "data") == []
    assert same_as_numbered([reader[9]], [9])


def test_a_reader_that_is_dropped_leaves_nothing_open(store: Store):
    """Fault 133."""
    before = len(os.listdir("/proc/self/fd"))
    for n in range(50):
        assert store.open(store.numbers)[n % 23][1] == n % 23
    assert len(os.listdir("/proc/self/fd")) <= before


def test_few_descriptors_suffice_for_many_shards(store: Store, no_sync: None):
    """Fault 127: converting and reading 80 shards with at most 40 descriptors of the process free."""

    def convert_and_read() -> bool:
        used = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, used + 40))
        path = store.convert(numbered(80), "many", images_per_file=1, overwrite=True)
        reader = store.open(path, max_open_files=16)
        return same_as_numbered(list(reader), range(80))

    assert in_child(convert_and_read)
