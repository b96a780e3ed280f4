"""Objects in images: COCO's annotations, YOLO's folders; and ImageNet's validation images with their kit."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torchvision import tv_tensors
from torchvision.transforms import v2

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.parquet.converter import ParquetConverter

# pycocotools has not followed NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

H, W = 20, 30


def pictures(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (W, H), (number,) * 3).save(folder / name)
    return folder


def coco(path: Path) -> dict[str, Any]:
    """Polygons, one of two parts, run lengths and compressed ones; an image without objects; ids with gaps."""
    runs = np.zeros((H, W), np.uint8, order="F")
    runs[3:9, 4:11] = 1
    packed = coco_mask.encode(runs)
    counts, last, run = [], 0, 0
    for value in runs.ravel(order="F"):
        if value != last:
            counts.append(run)
            last, run = value, 0
        run += 1
    counts.append(run)
    segmentations = [
        [[2.0, 2.0, 12.0, 2.0, 12.0, 9.0, 2.0, 9.0]],
        [[1, 1, 5, 1, 5, 5], [20, 10, 28, 10, 28, 18, 20, 18]],
        {"size": [H, W], "counts": counts},
        {"size": [H, W], "counts": packed["counts"].decode()},
    ]
    images = [{"id": 10 * i, "file_name": f"{i}.png", "height": H, "width": W} for i in range(3)]
    annotations = [
        {"id": i, "image_id": [0, 0, 20, 20][i], "category_id": [90, 3, 3, 90][i], "bbox": [i, i + 1, 5.5, 6],
         "area": 9.0, "iscrowd": int(i == 2), "segmentation": segmentation}
        for i, segmentation in enumerate(segmentations)
    ]  # fmt: skip
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "cat"}],
    }
    path.write_text(json.dumps(content))
    return content


def test_coco_gives_boxes_classes_and_the_masks_of_pycocotools(tmp_path: Path) -> None:
    data, labels = pictures(tmp_path / "in", "0.png", "1.png", "2.png"), tmp_path / "annotations.json"
    coco(labels)
    theirs = COCO(labels)
    ParquetConverter(data, tmp_path / "out", labels=labels, num_workers=0).convert()
    reader = open_reader(tmp_path / "out", output="numpy")
    names = next(f.names for f in reader.fields if f.name == "labels")
    assert names == ("cat", "zebra")  # in the order of their ids
    for index, sample in enumerate(reader):
        found = theirs.loadAnns(theirs.getAnnIds(imgIds=10 * index))
        assert [names[n] for n in sample["labels"]] == [theirs.cats[a["category_id"]]["name"] for a in found]
        assert np.array_equal(sample["boxes"], np.array([a["bbox"] for a in found], np.float32).reshape(-1, 4))
        assert sample["iscrowd"].tolist() == [a["iscrowd"] for a in found]
        assert sample["masks"].shape == (len(found), H, W)
        for mask, annotation in zip(sample["masks"], found, strict=True):
            assert np.array_equal(mask, theirs.annToMask(annotation))
    assert str(reader.label_audit) == "field labels (array), from categories of annotations.json"


def test_boxes_and_masks_of_coco_move_together(tmp_path: Path) -> None:
    data, labels = pictures(tmp_path / "in", "0.png", "1.png", "2.png"), tmp_path / "annotations.json"
    coco(labels)
    ParquetConverter(data, tmp_path / "out", labels=labels, num_workers=0).convert()
    sample = open_reader(tmp_path / "out", output="tv_tensor", transforms=v2.RandomHorizontalFlip(1.0))[0]
    assert isinstance(sample["boxes"], tv_tensors.BoundingBoxes)
    assert isinstance(sample["masks"], tv_tensors.Mask)
    plain = open_reader(tmp_path / "out", output="numpy")[0]
    assert np.array_equal(sample["masks"].numpy(), plain["masks"][:, :, ::-1])


def test_coco_without_an_image_and_images_without_an_entry_are_counted(tmp_path: Path) -> None:
    data, labels = pictures(tmp_path / "in", "0.png", "9.png"), tmp_path / "annotations.json"
    coco(labels)
    source = open_source(data, labels=labels)
    assert source.ignored["image without a entry in annotations.json: kept, its label is missing"] == 1
    assert source.ignored["entry of annotations.json without an image"] == 2
    assert source[1]["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.pop("images"), "no images and annotations"),
        (lambda c: c["images"][0].pop("height"), "no id, file_name, height or width"),
        (lambda c: c["annotations"][0].update(category_id=7), "annotation 0 is of image 0 and category 7"),
        (lambda c: c["annotations"][0].update(image_id=7), "annotation 0 is of image 7"),
        (lambda c: c["annotations"][3]["segmentation"].update(size=[2, 2]), r"its mask is of \(2, 2\)"),
        (lambda c: c["annotations"][0].update(segmentation=[["x"]]), "segmentation cannot be read"),
        (lambda c: c["annotations"][0].pop("bbox"), "an entry lacks something"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2]), "an entry lacks something"),
        (lambda c: c["annotations"][0].update(image_id=[0]), "an entry lacks something"),
        (lambda c: c["images"][0].update(height="x"), "an entry lacks something"),
    ],
)
def test_wrong_files_of_coco_are_told(change: Any, told: str, tmp_path: Path) -> None:
    data, labels = pictures(tmp_path / "in", "0.png", "2.png"), tmp_path / "annotations.json"
    content = coco(labels)
    change(content)
    labels.write_text(json.dumps(content))

    def read_all() -> None:
        source = open_source(data, labels=labels)
        for index in range(len(source)):
            source[index]

    with pytest.raises(InputError, match=told):
        read_all()


def yolo(folder: Path, part: str = "") -> Path:
    pictures(folder / "images" / part, "a.png", "b.png", "c.png")
    (folder / "labels" / part).mkdir(parents=True)
    (folder / "labels" / part / "a.txt").write_text("1 0.5 0.5 0.2 0.1\n0 0.25 0.75 0.1 0.5\n")
    (folder / "labels" / part / "b.txt").write_text("")
    return folder


@pytest.mark.parametrize("names", ["data.yaml", "classes.txt"])
def test_yolo_is_found_by_its_folders(names: str, tmp_path: Path) -> None:
    data = yolo(tmp_path / "in")
    (data / names).write_text("names: [cat, dog]\n" if names.endswith("yaml") else "cat\ndog\n")
    ParquetConverter(data, tmp_path / "out", num_workers=0).convert()
    reader = open_reader(tmp_path / "out", output="numpy")
    fields = {f.name: f for f in reader.fields}
    assert fields["labels"].names == ("cat", "dog")
    assert fields["boxes"].box_format == "CXCYWH"
    first = reader[0]
    assert np.allclose(first["boxes"], [[0.5 * W, 0.5 * H, 0.2 * W, 0.1 * H], [0.25 * W, 0.75 * H, 0.1 * W, 0.5 * H]])
    assert first["labels"].tolist() == [1, 0]
    assert [len(reader[i]["labels"]) for i in range(3)] == [2, 0, 0]
    assert reader.manifest.ignored["image without a file in labels/: kept, without boxes"] == 1


def test_the_splits_of_yolo(tmp_path: Path) -> None:
    data = yolo(yolo(tmp_path / "in", "train"), "val")
    with pytest.raises(ConfigError, match="train, val: say which"):
        open_source(data, "test")
    for split in ("train", "val"):
        assert len(open_source(data, split)) == 3


@pytest.mark.parametrize(
    ("text", "told"), [("0 0.5", "has 2 values"), ("2 0 0 1 1", "class"), ("0.5 0 0 1 1", "class")]
)
def test_wrong_files_of_yolo_are_told(text: str, told: str, tmp_path: Path) -> None:
    data = yolo(tmp_path / "in")
    (data / "classes.txt").write_text("cat\ndog\n")
    (data / "labels" / "a.txt").write_text(text + "\n")
    with pytest.raises(InputError, match=told):
        open_source(data)[0]


@pytest.mark.parametrize("packed", [False, True])
def test_imagenets_flat_validation_folder_with_its_kit(packed: bool, tmp_path: Path, monkeypatch: Any) -> None:
    from shardwright.folders import imagenet

    names = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in (1, 2, 3)]
    data = pictures(tmp_path / "val", *names)
    monkeypatch.setattr(imagenet, "_class_table", lambda *_: {1: "n01440764", 7: "n01443537"})
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    (kit / imagenet.TABLE).write_bytes(b"table")
    (kit / imagenet.GROUND_TRUTH).write_text("7\n1\n7\n")
    labels = kit.parent
    if packed:
        labels = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
        with tarfile.open(labels, "w:gz") as archive:
            archive.add(kit.parent, "ILSVRC2012_devkit_t12")
    ParquetConverter(data, tmp_path / "out", labels=labels, num_workers=0).convert()
    reader = open_reader(tmp_path / "out")
    assert [reader.classes[n] for n in reader.targets] == ["n01443537", "n01440764", "n01443537"]
    assert reader.label_audit.labels_from == "ground truth of the development kit"
