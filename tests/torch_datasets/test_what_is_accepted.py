"""What `open_source` takes for a dataset, and what it refuses with the mend."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from shardwright.base.errors import InputError
from shardwright.base.open_source import open_source
from shardwright.base.source import Source
from shardwright.torch_datasets.source import DatasetSource
from tests.torch_datasets.samples import IDS, PICTURE, Items


class Iterable(IterableDataset):
    def __iter__(self):
        yield PICTURE, 1


class SizedIterable(Iterable):
    def __len__(self):
        return 1


class NoLength(Dataset):
    def __getitem__(self, index):
        return PICTURE, 1


@pytest.mark.parametrize(
    "data",
    [Iterable(), SizedIterable(), NoLength(), iter([PICTURE]), DataLoader(Items([PICTURE]))],
    ids=lambda data: type(data).__name__,
)
def test_iterable_style_is_refused_with_the_mend(data):
    with pytest.raises(InputError, match=r"iterable-style.*give it __len__ and __getitem__, or"):
        open_source(data)


@pytest.mark.parametrize("data", [None, 3, {"a": 1}, (PICTURE, 1), b"path", IDS, torch.zeros(2, 3), Items])
def test_anything_else_is_refused_with_what_is_accepted(data):
    with pytest.raises(InputError, match=r"give the path of a folder .*a dataset with __len__"):
        open_source(data)


def test_a_source_is_taken_as_it_is():
    source = DatasetSource(Items([PICTURE]))
    assert open_source(source) is source
    assert isinstance(source, Source)


@pytest.fixture
def split_source(monkeypatch):
    """A stand-in for the class that reads converted splits: it keeps its arguments."""
    made = SimpleNamespace(SplitSource=lambda *args: args)
    monkeypatch.setitem(sys.modules, "shardwright.base.view_source", made)


def test_a_converted_dataset_is_told_by_its_manifest(tmp_path, split_source):
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/train.json").write_text("{}")
    assert open_source(str(tmp_path)) == (str(tmp_path),)
