"""The Dense subclasses of the example: formats of their own that pass the conformance suite, and what they add."""

import ast
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tests.conformance
from shardwright.base import formats
from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage
from shardwright.base.reader import open_reader
from shardwright.memmap.reader import MemmapReader
from tests.conformance.tools import SHAPE, Store, encoded, picture

# Under its full name, so that processes that are started anew find it too.
dense = importlib.import_module("examples.dense_labels.dense_labels")
CLASSES = (dense.DenseMemmapConverter, dense.DenseMemmapReader, dense.DenseIpcConverter, dense.DenseIpcReader)


# The table of formats is as it was for the other modules of tests.
RECORDS = [formats._FORMATS.pop(name) for name in ("dense_memmap", "dense_ipc")]


@pytest.fixture(scope="module", autouse=True)
def registered():
    for record in RECORDS:
        formats.register(record)
    yield
    for record in RECORDS:
        formats._FORMATS.pop(record.name)


@pytest.fixture(scope="session", params=["dense_memmap", "dense_ipc"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    like = {"dense_memmap": "memmap", "dense_ipc": "pyarrow_ipc"}[request.param]
    return Store(request.param, tmp_path_factory.mktemp(request.param), like=like)


def is_check_of_a_format(name, value):
    """Whether it is a conformance check that takes a format, or a fixture of one."""
    if name.startswith("test_"):
        return "store" in inspect.signature(value).parameters
    return name != "store" and type(value).__name__ == "FixtureFunctionDefinition"


# Every such check runs here too, with the `store` of this module.
for _module in pkgutil.iter_modules(tests.conformance.__path__):
    if _module.name.startswith("test_") and _module.name != "test_mutants":
        _found = vars(importlib.import_module(f"tests.conformance.{_module.name}"))
        globals().update({name: value for name, value in _found.items() if is_check_of_a_format(name, value)})


def ids(number, shape=(10, 14), dtype=np.uint8):
    return np.random.default_rng(number).integers(0, 250, shape).astype(dtype)


def pairs(count=5):
    return [(picture(n), Image.fromarray(ids(n))) for n in range(count)]


def nearest(mask):
    return np.asarray(Image.fromarray(mask).resize((SHAPE[1], SHAPE[0]), Image.Resampling.NEAREST))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_dense_class_is_short(cls):
    (tree,) = ast.parse(inspect.getsource(cls)).body
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body = node.body[1:]
    assert len(ast.unparse(tree).splitlines()) < 25


def test_labels_of_the_fixed_format_are_arrays_with_channels(tmp_path):
    dense.DenseMemmapConverter(pairs(), tmp_path, shape=SHAPE, num_workers=0).convert()
    array = np.load(tmp_path / "data/train-00000-of-00001.mask.npy")
    assert array.shape == (5, *SHAPE, 1)
    assert np.array_equal(array[3, :, :, 0], nearest(ids(3)))


def test_labels_of_several_channels_and_wide_types(tmp_path):
    data = [{"image": picture(n), "label": ids(n, (10, 14, 5), np.int32) * 300} for n in range(3)]
    dense.DenseMemmapConverter(data, tmp_path, shape=(10, 14), num_workers=0).convert()
    array = np.load(tmp_path / "data/train-00000-of-00001.label.npy")
    assert array.shape == (3, 10, 14, 5)
    assert array.dtype == np.int32
    for sample, sent in zip(dense.DenseMemmapReader(tmp_path), data, strict=True):
        assert np.array_equal(sample["label"], sent["label"])
    tensors = dense.DenseMemmapReader(tmp_path, output="tensor")
    assert torch.equal(tensors[1]["label"].permute(1, 2, 0), torch.from_numpy(data[1]["label"]))


def test_labels_of_the_flexible_format_are_lossless_images(tmp_path):
    data = [{"image": picture(n), "label": Image.fromarray(ids(n))} for n in range(3)]
    dense.DenseIpcConverter(data, tmp_path, num_workers=0, encoding="jpeg").convert()
    stored = dense.DenseIpcReader(tmp_path, output="bytes")[2]
    assert stored["image"][:2] == b"\xff\xd8"
    assert stored["label"][1:4] == b"PNG"
    assert np.array_equal(dense.DenseIpcReader(tmp_path)[2]["label"], ids(2))


def test_a_palette_label_under_the_name_of_label_is_a_mask(store):
    mask = Image.fromarray(ids(1))
    mask.putpalette(list(range(120)))
    reader = store.open(store.convert([{"image": picture(1), "label": mask}], "palette", overwrite=True))
    (field,) = (f for f in reader.fields if f.name == "label")
    assert (field.kind, field.palette) == ("mask", tuple(range(120)))
    assert np.array_equal(reader[0]["label"], nearest(ids(1)) if store.fixed else ids(1))


def test_images_are_pictures_and_labels_arrays(store):
    path = store.convert(pairs(), "pairs", overwrite=True)
    seen = []
    reader = store.open(path, target_transform=lambda label: seen.append(label) or torch.from_numpy(label).long())
    image, label = reader[4]
    assert isinstance(image, Image.Image)
    assert isinstance(seen[0], np.ndarray)
    assert label.dtype == torch.int64
    assert np.array_equal(label.numpy(), nearest(ids(4)) if store.fixed else ids(4))


def test_tv_tensors_are_what_they_are_elsewhere(store):
    reader = store.open(store.convert(pairs(), "pairs-tv", overwrite=True), output="tv_tensor")
    image, label = reader[2]
    assert (type(image).__name__, type(label).__name__) == ("Image", "Mask")
    assert label.shape == image.shape[1:]


def test_labels_of_another_size_than_their_image_are_refused(store):
    mixed = [*pairs(2), (picture(2), Image.fromarray(ids(2, (14, 10))))]
    with pytest.raises(InputError, match=r"sample 2: the image is \(10, 14\) and its mask \(14, 10\)"):
        store.convert(mixed, "mixed", overwrite=True)
    files = [(EncodedImage(encoded(picture(0))), torch.from_numpy(ids(0, (9, 14))))]
    with pytest.raises(InputError, match=r"the image is \(10, 14\) and its mask \(9, 14\)"):
        store.convert(files, "files", overwrite=True)


def test_vectors_under_the_name_of_label_stay_arrays(store):
    reader = store.open(store.convert([{"image": picture(0), "label": np.arange(7.0)}], "vectors", overwrite=True))
    assert next(f.kind for f in reader.fields if f.name == "label") == "array"
    assert np.array_equal(reader[0]["label"], np.arange(7.0))


def test_open_reader_knows_the_formats(store):
    assert type(open_reader(store.convert(pairs(2), "known", overwrite=True))) in CLASSES


def test_the_plain_reader_says_which_one_to_use(tmp_path):
    dense.DenseMemmapConverter(pairs(1), tmp_path, shape=SHAPE, num_workers=0).convert()
    with pytest.raises(ValueError, match=r"use DenseMemmapReader \(from examples\.dense_labels"):
        MemmapReader(tmp_path)


def test_the_readmes_steps_run(tmp_path, monkeypatch):
    """Each block goes on where the one before it stopped."""
    here = Path(dense.__file__).parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(here))
    blocks = (here / "README.md").read_text().split("```python\n")[1:]
    assert len(blocks) >= 5
    script = "\n".join(block.partition("```")[0] for block in blocks)
    exec(compile(script, "README.md", "exec"), {"__name__": "readme"})  # the steps are a text of this repository
    sys.modules.pop("dense_labels", None)
    for record in RECORDS:  # the steps register them under another name of the module
        formats.register(record)


def test_a_field_given_by_hand_is_kept(store):
    fields = [Field("mask", "mask", names=("sky", "road"))]
    reader = store.open(store.convert(pairs(2), "named", fields=fields, overwrite=True))
    assert reader.classes == ["sky", "road"]
