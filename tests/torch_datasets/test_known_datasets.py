"""Torchvision's own datasets: the files found are the ones that they open."""

import sys
from types import SimpleNamespace

import pytest
from PIL import Image
from torchvision import datasets as tv

from shardwright.base.open_source import open_source
from shardwright.torch_datasets.torchvision_files import LABELLED, FolderLikeSource, files_of
from tests.torch_datasets.samples import TWO, bare, pets


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
    assert files_of(pet, LABELLED) is None
    caltech101 = KNOWN["Caltech101"](root)
    caltech101.target_type = ["category", "annotation"]
    assert files_of(caltech101, LABELLED) is None
