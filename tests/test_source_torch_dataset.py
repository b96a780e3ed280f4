"""Datasets as sources: the names of their values, and whose files are stored as they are."""

import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset
from torchvision import datasets as tv

from datasets.base.errors import InputError
from datasets.sources import Source, open_source
from datasets.sources.folder import FolderSource
from datasets.sources.torch_dataset import (
    DatasetSource,
    FolderLikeSource,
    is_folder_like,
    name_values,
)

PICTURE = Image.new("RGB", (2, 3))
IDS = np.zeros((3, 2), np.uint8)


class Photo(NamedTuple):
    photo: Any
    number: int


# --- the names of the values --------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "names"),
    [
        (PICTURE, ["image"]),
        ((PICTURE,), ["image"]),
        ((PICTURE, 3), ["image", "label"]),
        ([PICTURE, 3], ["image", "label"]),
        ((PICTURE, None), ["image", "label"]),
        ((PICTURE, [1, 0, 0]), ["image", "label"]),
        ((PICTURE, torch.zeros(10)), ["image", "label"]),
        ((PICTURE, Image.new("L", (2, 3))), ["image", "mask"]),
        ((PICTURE, IDS), ["image", "mask"]),
        ((PICTURE, torch.from_numpy(IDS)), ["image", "mask"]),
        ((PICTURE, IDS, 3, "text"), ["image", "mask", "field_2", "field_3"]),
        ((PICTURE, 1, IDS), ["image", "label", "field_2"]),
        (Photo(PICTURE, 3), ["photo", "number"]),
        ({"x": PICTURE, "y": 3}, ["x", "y"]),
    ],
)
def test_values_get_names(sample, names):
    named = name_values(sample)
    assert list(named) == names
    values = sample.values() if isinstance(sample, dict) else sample
    values = list(values) if isinstance(values, (tuple, list, type({}.values()))) else [values]
    assert all(a is b for a, b in zip(named.values(), values, strict=True))


def test_a_dict_is_copied_so_that_the_sample_stays_as_it_was():
    sample = {"x": 1}
    name_values(sample)["y"] = 2
    assert sample == {"x": 1}


@pytest.mark.parametrize(
    ("sample", "message"),
    [((), "empty tuple"), ({}, "empty dict"), ({0: PICTURE}, r"the key 0 \(int\)")],
)
def test_samples_without_names_are_refused(sample, message):
    with pytest.raises(InputError, match=message):
        name_values(sample)


# --- plain datasets -----------------------------------------------------------------------


class Items(Dataset):
    """Samples from a list; an exception in it is raised."""

    def __init__(self, items, **attributes):
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        if isinstance(item, BaseException):
            raise item
        return item


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


@pytest.mark.parametrize("label", [1, 0, np.int8(1), torch.tensor(1), np.array([1, 0])[0]])
def test_classes_name_integer_labels(label):
    """Fault 32: the value goes on as it is."""
    source = DatasetSource(Items([(PICTURE, label)], classes=["cat", "dog"]))
    assert source.fields["label"].kind == "class_label"
    assert source.fields["label"].names == ("cat", "dog")
    assert source[0]["label"] is label


@pytest.mark.parametrize("label", [2.7, None, "cat", True, torch.tensor(1.0), torch.tensor([0, 1]), np.array([0, 1])])
def test_other_labels_are_left_to_inference(label):
    """Fault 32."""
    source = DatasetSource(Items([(PICTURE, label)], classes=["cat", "dog"]))
    assert source.fields == {}
    assert source[0]["label"] is label


@pytest.mark.parametrize("classes", [None, [], "cat dog", [1, 2], 2, {"cat": 0}, ["cat", None]])
def test_classes_that_are_no_names_are_left_out(classes):
    assert DatasetSource(Items([(PICTURE, 1)], classes=classes)).fields == {}


@pytest.mark.parametrize("label", [2, -2, 2**63])
def test_a_label_beyond_the_classes_has_no_name(label):
    """Fault 32."""
    assert DatasetSource(Items([(PICTURE, label)], classes=["cat", "dog"])).fields == {}


def test_labels_that_are_made_anew_have_no_names(root):
    folder = tv.ImageFolder(root)
    folder.target_transform = lambda label: 1 - label
    assert open_source(folder).fields == {}
    assert open_source(Inverted(tv.ImageFolder(root), [0])).fields == {}
    pet = pets(root)
    pet.classes, pet._bin_labels, pet._target_types = ["a", "b"], [0, 1], ["binary-category"]
    assert open_source(pet)[1]["label"] == 1
    assert open_source(pet).fields == {}


def test_classes_with_several_names_each_are_joined():
    classes = [("tench", "Tinca tinca"), ("goldfish",)]
    source = DatasetSource(Items([(PICTURE, 1)], classes=classes))
    assert source.fields["label"].names == ("tench, Tinca tinca", "goldfish")


def test_a_subset_has_the_classes_of_its_dataset():
    inner = Items([(PICTURE, 0), (PICTURE, 1)], classes=["a", "b"])
    source = open_source(Subset(Subset(inner, [1, 0]), [0]))
    assert source.fields["label"].names == ("a", "b")
    assert source[0]["label"] == 1
    assert source.content() == {"num_samples": 1, "dataset": "Items"}


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


# --- what is accepted ---------------------------------------------------------------------


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
    monkeypatch.setitem(sys.modules, "datasets.sources.split", made)


def test_a_converted_dataset_is_told_by_its_manifest(tmp_path, split_source):
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/train.json").write_text("{}")
    assert open_source(str(tmp_path)) == (str(tmp_path),)


# --- torchvision's datasets of files ------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """Two classes, three images; the bytes of all differ."""
    for number, path in enumerate(["root/cat/a.png", "root/dog/b.png", "root/dog/c.png"]):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 3), (number * 80, 0, 0)).save(file)
    return tmp_path / "root"


def stored(source):
    return [(source[i]["image"].data, source[i]["label"]) for i in range(len(source))]


def on_disk(pairs):
    return [(Path(path).read_bytes(), label) for path, label in pairs]


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


class Changed(tv.ImageFolder):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image.rotate(90), label


class Shorter(tv.ImageFolder):
    def __len__(self):
        return 2


class Inverted(Subset):
    def __getitem__(self, index):
        return self.dataset[index][0], 1 - self.dataset[index][1]

    def __getitems__(self, indices):
        return [self[i] for i in indices]


class ShorterSubset(Subset):
    def __len__(self):
        return 1


def identity(value):
    return value


def grey_loader(path):
    with Image.open(path) as image:
        return image.convert("L")


def with_samples(folder, samples):
    folder.samples = samples
    return folder


@pytest.mark.parametrize(
    "make",
    [
        lambda root: tv.ImageFolder(root, transform=identity),
        lambda root: tv.ImageFolder(root, target_transform=identity),
        lambda root: tv.ImageFolder(root, transform=torch.nn.Sequential()),
        lambda root: tv.ImageFolder(root, loader=grey_loader),
        lambda root: tv.DatasetFolder(root, np.fromfile, extensions=(".png",)),
        Changed,
        Shorter,
        lambda root: Inverted(tv.ImageFolder(root), [0]),
        lambda root: ShorterSubset(tv.ImageFolder(root), [0, 1]),
        lambda root: Subset(Changed(root), [0, 1]),
        lambda root: ConcatDataset([tv.ImageFolder(root)]),
        lambda root: with_samples(tv.ImageFolder(root), [(root / "cat/a.png", "cat")]),
        lambda root: Subset(tv.ImageFolder(root), [0, 5]),
        lambda root: Subset(tv.ImageFolder(root), ["0"]),
    ],
)
def test_a_dataset_that_does_more_than_open_files_is_read_by_its_samples(root, make):
    dataset = make(root)
    assert not is_folder_like(dataset)
    assert type(open_source(dataset)) is DatasetSource
    with pytest.raises(InputError, match="does more than open image files"):
        FolderLikeSource(dataset)


def test_transforms_that_are_set_later_count(root):
    folder = tv.ImageFolder(root)
    folder.transforms = identity
    assert type(open_source(folder)) is DatasetSource


def test_a_subclass_that_only_adds_to_an_image_folder_keeps_the_bytes(root):
    class Named(tv.ImageFolder):
        """Adds nothing to how a sample is read."""

    assert is_folder_like(Named(root))


def test_numbers_without_a_name_leave_the_names_out(root):
    folder = with_samples(tv.ImageFolder(root), [(str(root / "cat/a.png"), 2)])
    source = open_source(folder)
    assert isinstance(source, FolderLikeSource)
    assert source.fields == {}
    assert source[0]["label"] == 2


def bare(name, root, **attributes):
    """A dataset of torchvision as its constructor would leave it, without its download."""
    cls = getattr(tv, name)
    dataset = cls.__new__(cls)
    tv.VisionDataset.__init__(dataset, str(root))
    dataset.__dict__.update(attributes)
    return dataset


TWO = ["cat/a.png", "dog/b.png"]


def two_lists(name):
    return lambda root: bare(name, root, _image_files=[root / p for p in TWO], _labels=[0, 1], loader=default_loader())


def one_list(name, attribute="_samples", **attributes):
    return lambda root: bare(
        name,
        root,
        **{attribute: [(str(root / p), i) for i, p in enumerate(TWO)]},
        **({} if name == "GTSRB" else {"loader": default_loader()}),
        **attributes,
    )


def default_loader():
    return tv.folder.default_loader


def pets(root):
    images = [root / p for p in TWO]
    return bare("OxfordIIITPet", root, _images=images, _labels=[0, 1], _target_types=["category"])


def caltech(name, pattern, **attributes):
    def make(root):
        folder = root / f"{name[-3:]}_ObjectCategories"
        for number, path in enumerate(TWO):
            file = folder / path.split("/")[0] / pattern.format(number + 1)
            file.parent.mkdir(parents=True)
            Image.open(root / path).save(file, quality=90)
        categories = ["cat", "dog"]
        return bare(name, root, categories=categories, index=[1, 1], y=[0, 1], **attributes)

    return make


KNOWN = {
    "Caltech101": caltech("Caltech101", "image_0001.jpg", target_type=["category"]),
    "Caltech256": caltech("Caltech256", "{:03d}_0001.jpg"),
    "DTD": two_lists("DTD"),
    "FGVCAircraft": two_lists("FGVCAircraft"),
    "Flowers102": two_lists("Flowers102"),
    "Food101": two_lists("Food101"),
    "GTSRB": one_list("GTSRB"),
    "Imagenette": one_list("Imagenette", classes=[("cat", "puss"), ("dog",)]),
    "OxfordIIITPet": pets,
    "Places365": one_list("Places365", "imgs", classes=["/c/cat", "/d/dog"]),
    "RenderedSST2": one_list("RenderedSST2"),
    "SUN397": two_lists("SUN397"),
    "StanfordCars": one_list("StanfordCars"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_files_found_are_the_ones_that_torchvision_opens(root, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", SimpleNamespace(io=None))  # Caltech101 imports it
    monkeypatch.setitem(sys.modules, "scipy.io", SimpleNamespace())
    dataset = KNOWN[name](root)
    source = open_source(dataset)
    assert isinstance(source, FolderLikeSource)
    assert len(source) == len(dataset) == 2
    for index in range(2):
        image, label = dataset[index]
        with Image.open(source_file(source, index, root)) as opened:
            assert opened.convert("RGB").tobytes() == image.convert("RGB").tobytes()
        assert source[index]["label"] == label == index


def source_file(source, index, root):
    """The file whose bytes the source gives, found by those bytes."""
    data = source[index]["image"].data
    (file,) = (f for f in root.rglob(source[index]["image"].name) if f.read_bytes() == data)
    return file


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("Imagenette", ("cat, puss", "dog")),
        ("Caltech256", ("cat", "dog")),
        ("Places365", ("/c/cat", "/d/dog")),
    ],
)
def test_class_names_come_from_the_dataset(root, name, names):
    assert open_source(KNOWN[name](root)).fields["label"].names == names


def test_other_targets_than_the_category_are_read_by_samples(root):
    pet = pets(root)
    pet._target_types = ["segmentation"]
    assert not is_folder_like(pet)
    caltech101 = KNOWN["Caltech101"](root)
    caltech101.target_type = ["category", "annotation"]
    assert not is_folder_like(caltech101)
