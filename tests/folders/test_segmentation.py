"""Images with masks as input: two folders, and torchvision's segmentation data sets."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import Subset
from torchvision import datasets as tv

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.formats import get_format
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.folders.segmentation import ParallelFoldersSource
from shardwright.torch_datasets.source import DatasetSource
from shardwright.torch_datasets.torchvision_files import VOC_CLASSES, WITH_MASKS, SegmentationSource, files_of
from tests.conformance.tools import encoded, picture

# torchvision leaves the masks' files open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PALETTE = [n % 256 for n in range(5, 5 + 768)]


def mask(number, mode="L"):
    ids = Image.fromarray(np.random.default_rng(number).integers(0, 20, (10, 14)).astype(np.uint8))
    if mode == "P":
        ids.putpalette(PALETTE)
    return ids.convert(mode) if mode != "I;16" else Image.fromarray(np.asarray(ids).astype(np.uint16) * 1000)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image, "JPEG" if path.suffix == ".jpg" else "PNG"))
    return path


@pytest.fixture
def folders(tmp_path):
    """Three pairs, one of them in a folder of its own."""
    for number, name in enumerate(("b", "a.b", "night/a")):
        write(tmp_path / "images" / f"{name}.jpg", picture(number))
        write(tmp_path / "masks" / f"{name}.png", mask(number))
    return tmp_path / "images", tmp_path / "masks"


def bytes_of(source):
    return [tuple(value.data for value in source[n].values()) for n in range(len(source))]


# --- parallel folders ---------------------------------------------------------------------


def test_files_are_matched_by_name_without_extension(folders):
    images, masks = folders
    source = ParallelFoldersSource(images, masks)
    names = ["a.b", "b", "night/a"]
    assert [source.name(n) for n in range(3)] == [f"{name}.jpg + {name}.png" for name in names]
    assert bytes_of(source) == [
        ((images / f"{name}.jpg").read_bytes(), (masks / f"{name}.png").read_bytes()) for name in names
    ]
    assert source.fields["mask"].kind == "mask"
    assert bytes_of(pickle.loads(pickle.dumps(source))) == bytes_of(source)


def test_converting_keeps_the_bytes(folders, tmp_path):
    source = ParallelFoldersSource(*folders, classes=[f"c{n}" for n in range(20)])
    get_format("tar").load_converter()(source, tmp_path / "out", num_workers=2).convert()
    assert list(open_reader(tmp_path / "out", output="bytes")) == bytes_of(source)
    assert open_reader(tmp_path / "out").classes == [f"c{n}" for n in range(20)]


def test_missing_partners_are_reported(folders):
    images, masks = folders
    (masks / "b.png").unlink()
    write(masks / "odd.png", mask(1))
    message = r"images has 1 images without a mask: b; .*masks has 1 masks without an image: odd; add what is missing"
    with pytest.raises(InputError, match=message):
        ParallelFoldersSource(images, masks)
    source = ParallelFoldersSource(images, masks, unpaired="skip")
    assert len(source) == 2
    assert source.ignored == {"image without a mask": 1, "mask without an image": 1}


def test_many_missing_partners_are_counted_and_some_named(folders):
    images, masks = folders
    for number in range(9):
        write(images / f"x{number}.png", picture(number))
    with pytest.raises(InputError, match=r"has 9 images without a mask: x0, x1, x2, x3, x4, \.\.\.;"):
        ParallelFoldersSource(images, masks)


@pytest.mark.parametrize("unpaired", ["raise", "skip"])
def test_no_pair_at_all_points_to_the_suffixes(folders, tmp_path, unpaired):
    write(tmp_path / "labels" / "b_L.png", mask(0))
    with pytest.raises(InputError, match=r"no image has a mask.*mask_suffix="):
        ParallelFoldersSource(folders[0], tmp_path / "labels", unpaired=unpaired)


def test_suffixes_are_taken_off(folders, tmp_path):
    for number, name in enumerate(("b", "a.b", "night/a")):
        write(tmp_path / "labels" / f"{name}_L.png", mask(number))
        write(tmp_path / "labels" / f"{name}_colour.png", picture(number))
    source = ParallelFoldersSource(folders[0], tmp_path / "labels", mask_suffix="_L")
    assert len(source) == 3
    assert source.ignored == {"name does not end in _L": 3}


def test_two_files_of_one_name_are_not_guessed_at(folders):
    write(folders[0] / "b.png", picture(1))
    with pytest.raises(InputError, match=r"b\.(jpg|png) and b\.(jpg|png) differ only in their extension"):
        ParallelFoldersSource(*folders)


def test_wrong_arguments(folders, tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        ParallelFoldersSource(folders[0], tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="unpaired='drop' is unknown"):
        ParallelFoldersSource(*folders, unpaired="drop")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty hold no images"):
        ParallelFoldersSource(tmp_path / "empty", tmp_path / "empty")


def test_other_files_are_another_input(folders):
    before = ParallelFoldersSource(*folders)
    write(folders[1] / "b.png", mask(9).resize((40, 40)))
    after = ParallelFoldersSource(*folders)
    assert before.content() != after.content()
    assert before.state() != after.state()
    with pytest.raises(InputError, match=r"b\.png has changed"):
        before[1]


# --- torchvision --------------------------------------------------------------------------


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for number, name in enumerate(("2007_1", "2007_2", "2008_3")):
        write(root / "JPEGImages" / f"{name}.jpg", picture(number))
        write(root / "SegmentationClass" / f"{name}.png", mask(number, "P"))
    listed = root / "ImageSets" / "Segmentation" / "train.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("2008_3\n2007_1\n")
    return tmp_path


@pytest.fixture
def cityscapes(tmp_path):
    for number, city in enumerate(("aachen", "bonn")):
        name = f"{city}_000000_000019"
        write(tmp_path / "leftImg8bit" / "train" / city / f"{name}_leftImg8bit.png", picture(number))
        folder = tmp_path / "gtFine" / "train" / city
        write(folder / f"{name}_gtFine_labelIds.png", mask(number))
        write(folder / f"{name}_gtFine_instanceIds.png", mask(number, "I;16"))
        (folder / f"{name}_gtFine_polygons.json").write_text(json.dumps({"imgWidth": 14, "objects": [number, city]}))
    return tmp_path


@pytest.fixture
def pets(tmp_path):
    root = tmp_path / "oxford-iiit-pet"
    lines = []
    for number, name in enumerate(("Birman_1", "boxer_1", "Birman_2")):
        write(root / "images" / f"{name}.jpg", picture(number))
        write(root / "annotations" / "trimaps" / f"{name}.png", mask(number))
        kind = 1 if name.startswith("B") else 2
        lines.append(f"{name} {kind} {kind} 1")
    (root / "annotations" / "trainval.txt").write_text("\n".join(lines))
    return tmp_path


def test_voc_is_stored_file_by_file(voc, tmp_path):
    dataset = tv.VOCSegmentation(voc, image_set="train")
    source = open_source(dataset)
    assert isinstance(source, SegmentationSource)
    assert bytes_of(source) == [
        (Path(image).read_bytes(), Path(target).read_bytes())
        for image, target in zip(dataset.images, dataset.masks, strict=True)
    ]
    get_format("parquet").load_converter()(dataset, tmp_path / "out", num_workers=0).convert()
    reader = open_reader(tmp_path / "out")
    assert reader.fields[1].palette == tuple(PALETTE)
    assert reader.classes == list(VOC_CLASSES)
    assert len(VOC_CLASSES) == 21
    for (image, found), (sent, target) in zip(reader, dataset, strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(sent))
        assert found.mode == "P"
        assert np.array_equal(np.asarray(found), np.asarray(target))


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ("instance", ["image", "mask"]),
        (["semantic", "instance"], ["image", "semantic_mask", "instance_mask"]),
        (["semantic", "polygon"], ["image", "semantic_mask", "polygons"]),
        ("polygon", ["image", "polygons"]),
    ],
)
def test_cityscapes(cityscapes, tmp_path, kinds, names):
    dataset = tv.Cityscapes(cityscapes, target_type=kinds)
    get_format("tar").load_converter()(dataset, tmp_path / "out", num_workers=0).convert()
    reader = open_reader(tmp_path / "out")
    assert [f.name for f in reader.fields] == names
    for found, (_, targets) in zip(reader, dataset, strict=True):
        for got, sent in zip(found[1:], targets if isinstance(targets, tuple) else (targets,), strict=True):
            same = got == sent if isinstance(sent, dict) else np.array_equal(np.asarray(got), np.asarray(sent))
            assert same


def test_cityscapes_names_its_classes(cityscapes, tmp_path):
    source = open_source(tv.Cityscapes(cityscapes, target_type="semantic"))
    assert source.fields["mask"].names[7] == "road"
    assert open_source(tv.Cityscapes(cityscapes, target_type="instance")).fields["mask"].names is None


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ("segmentation", ["image", "mask"]),
        (["category", "segmentation"], ["image", "label", "mask"]),
        (["segmentation", "binary-category", "category"], ["image", "mask", "species", "label"]),
    ],
)
def test_oxford_pets(pets, tmp_path, kinds, names):
    dataset = tv.OxfordIIITPet(pets, target_types=kinds)
    get_format("pyarrow_ipc").load_converter()(dataset, tmp_path / "out", num_workers=0).convert()
    reader = open_reader(tmp_path / "out")
    assert [f.name for f in reader.fields] == names
    for found, (_, targets) in zip(reader, dataset, strict=True):
        for got, sent in zip(found[1:], targets if isinstance(targets, tuple) else (targets,), strict=True):
            assert np.array_equal(np.asarray(got), np.asarray(sent))
    if "label" in names:
        assert reader.classes == ["Birman", "Boxer"]
        assert reader.targets.tolist() == [0, 1, 0]


def test_pets_with_a_category_only_are_no_segmentation(pets):
    assert files_of(tv.OxfordIIITPet(pets), WITH_MASKS) is None


def test_a_subset_is_stored_file_by_file_too(voc, pets):
    dataset = tv.VOCSegmentation(voc, image_set="train")
    assert bytes_of(open_source(Subset(dataset, [-1]))) == bytes_of(open_source(dataset))[1:]
    some = open_source(Subset(tv.OxfordIIITPet(pets, target_types=["category", "segmentation"]), [1, 0]))
    assert [some[n]["label"] for n in range(2)] == [1, 0]


def test_a_transform_or_another_way_of_reading_is_respected(voc):
    class Own(tv.VOCSegmentation):
        def __getitem__(self, index):
            return super().__getitem__(index)[0], 5

    changed = tv.VOCSegmentation(voc, image_set="train", transforms=lambda image, target: (image, target))
    for dataset in (changed, Own(voc, image_set="train")):
        assert isinstance(open_source(dataset), DatasetSource)
        with pytest.raises(InputError, match="does more than open images and masks"):
            SegmentationSource(dataset)
    assert open_source(changed)[0].keys() == {"image", "mask"}


def test_a_missing_mask_is_told_at_once(voc):
    (voc / "VOCdevkit/VOC2012/SegmentationClass/2007_1.png").unlink()
    with pytest.raises(InputError, match=r"2007_1\.png cannot be read: No such file"):
        open_source(tv.VOCSegmentation(voc, image_set="train"))


def test_broken_json_names_its_file(cityscapes):
    for path in cityscapes.rglob("*.json"):
        path.write_text("{")
    source = open_source(tv.Cityscapes(cityscapes, target_type="polygon"))
    with pytest.raises(InputError, match=r"polygons\.json is not JSON"):
        source[0]
