"""An `ImageFolder`, or a subset of one, gives the bytes of its files."""

import os
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import Subset
from torchvision import datasets as tv

from shardwright.base.errors import InputError
from shardwright.base.open_source import open_source
from shardwright.folders.source import FolderSource
from shardwright.parquet.converter import ParquetConverter
from shardwright.parquet.reader import ParquetReader
from shardwright.torch_datasets.torchvision_files import LABELLED, FolderLikeSource, files_of
from tests.torch_datasets.samples import on_disk, stored, with_samples


def test_an_image_folder_gives_the_bytes_of_its_files(root):
    folder = tv.ImageFolder(root)
    source = open_source(folder)
    assert isinstance(source, FolderLikeSource)
    assert stored(source) == on_disk(folder.samples)
    assert source[2]["image"].name == "c.png"
    assert source.name(2) == "dog/c.png"
    assert source.fields["label"].names == ("cat", "dog")
    plain = FolderSource(root)
    assert source.content() == {**plain.content(), "dataset": "ImageFolder"}
    assert source.state() == plain.state()


def test_a_filtered_list_of_samples_is_honoured(root):
    folder = tv.ImageFolder(str(root) + "/")
    folder.samples = folder.samples[::-2]
    source = open_source(folder)
    assert stored(source) == on_disk(folder.samples)
    assert [source.name(i) for i in range(2)] == ["dog/c.png", "cat/a.png"]


def test_samples_outside_the_root_are_read(root, tmp_path):
    (tmp_path / "else").mkdir()
    os.rename(root / "dog/c.png", tmp_path / "else/c.png")
    folder = tv.ImageFolder(root)
    folder.samples.append((str(root / "../else/c.png"), 0))
    folder.root = root / "cat"
    source = open_source(folder)
    assert stored(source) == on_disk(folder.samples)
    assert [source.name(i) for i in range(3)] == ["root/cat/a.png", "root/dog/b.png", "else/c.png"]


@pytest.mark.parametrize("indices", [[2, 0, 0], [-1], (1,), np.array([1, 2]), torch.tensor([2, 1]), range(2), []])
def test_a_subset_keeps_the_bytes_of_the_files(root, indices):
    subset = Subset(tv.ImageFolder(root), indices)
    source = open_source(subset)
    assert isinstance(source, FolderLikeSource)
    assert stored(source) == on_disk([subset.dataset.samples[i] for i in indices])
    assert source.fields["label"].names == ("cat", "dog")
    assert source.content()["dataset"] == "ImageFolder"


def test_a_subset_of_a_subset_is_followed(root):
    folder = tv.ImageFolder(root)
    source = open_source(Subset(Subset(folder, [2, 1]), [-2]))
    assert stored(source) == on_disk([folder.samples[2]])


def test_relative_paths_hold_after_chdir_and_pickling(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    folder = tv.ImageFolder("root")
    want = on_disk(folder.samples)
    source = open_source(folder)
    monkeypatch.chdir("/")
    assert stored(pickle.loads(pickle.dumps(source))) == want


def test_a_file_that_cannot_be_read_is_refused_at_once(root):
    """Fault 28."""
    folder = tv.ImageFolder(root)
    (root / "dog/b.png").unlink()
    with pytest.raises(InputError, match=r"dog/b\.png cannot be read: No such file"):
        open_source(folder)
    os.mkfifo(root / "dog/b.png")
    with pytest.raises(InputError, match=r"dog/b\.png cannot be read: it is a FIFO"):
        open_source(folder)


def test_class_names_that_are_not_utf8_are_shown_as_utf8(root):
    """Fault 30."""
    os.rename(root / "cat", os.fsencode(root) + b"/\xff")
    source = open_source(tv.ImageFolder(root))
    assert source.fields["label"].names == FolderSource(root).fields["label"].names
    assert source.content()["digest"] == FolderSource(root).content()["digest"]


def test_a_subclass_that_only_adds_to_an_image_folder_keeps_the_bytes(root):
    class Named(tv.ImageFolder):
        """Adds nothing to how a sample is read."""

    assert files_of(Named(root), LABELLED) is not None


def test_a_number_without_a_name_is_told_when_it_is_converted(root, tmp_path):
    folder = with_samples(tv.ImageFolder(root), [(str(root / "cat/a.png"), 2)])
    source = open_source(folder)
    assert isinstance(source, FolderLikeSource)
    assert source[0]["label"] == 2
    with pytest.raises(InputError, match=r"class number 2 has no name.*classes="):
        ParquetConverter(folder, tmp_path / "out", num_workers=0).convert()
    ParquetConverter(folder, tmp_path / "out", num_workers=0, classes=["cat", "dog", "eel"], overwrite=True).convert()
    assert ParquetReader(tmp_path / "out").targets.tolist() == [2]
