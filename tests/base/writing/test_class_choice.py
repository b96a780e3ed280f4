"""Numbers follow names: `classes=`, names in `fields=`, and splits of one output that share their classes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError, InputError, PlanMismatchError
from shardwright.base.fields import Field
from shardwright.base.formats import format_names, get_format
from shardwright.base.index_files import index_files
from shardwright.base.merge import merge
from shardwright.base.reader import open_reader
from shardwright.parquet.converter import ParquetConverter

COLOURS = {"ant": 10, "bee": 20, "cat": 30, "dog": 40}


def folders(path: Path, *names: str, count: int = 2) -> Path:
    """Class folders of images, whose colour says their class."""
    for name in names:
        (path / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), COLOURS[name]).save(path / name / f"{i}.png")
    return path


def convert(input_data: Any, output: Path, split: str = "train", format_name: str = "parquet", **options: Any) -> Any:
    fixed = {"shape": (8, 8)} if get_format(format_name).load_converter().fixed_size else {}
    get_format(format_name).load_converter()(
        input_data, output, split=split, num_workers=0, **fixed, **options
    ).convert()
    return open_reader(output, split=split)


def named(reader: Any) -> list[str]:
    """The names that a reader gives to its images; wrong ones raise."""
    names = [reader.classes[number] for number in reader.targets.tolist()]
    for (image, number), name in zip(reader, names, strict=True):
        assert np.asarray(image).max() == COLOURS[name]
        assert reader.classes[number] == name
    return names


# --- classes= -------------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", format_names())
def test_classes_are_numbered_as_given(format_name: str, tmp_path: Path) -> None:
    data = folders(tmp_path / "in", "bee", "ant")
    reader = convert(data, tmp_path / "out", format_name=format_name, classes=["dog", "bee", "ant"])
    assert reader.class_to_idx == {"dog": 0, "bee": 1, "ant": 2}
    assert sorted(named(reader)) == ["ant", "ant", "bee", "bee"]
    assert reader.manifest.plan["options"]["classes"] == ["dog", "bee", "ant"]


def test_a_class_that_is_not_in_the_list_is_an_error_whose_advice_works(tmp_path: Path) -> None:
    data = folders(tmp_path / "in", "ant", "bee", "cat")
    with pytest.raises(ConfigError, match="lacks 'bee'") as caught:
        convert(data, tmp_path / "out", classes=["cat", "ant"])
    assert not (tmp_path / "out").exists()
    advice = json.loads(re.search(r"classes=(\[.*?\])", str(caught.value))[1])  # type: ignore[index]
    reader = convert(data, tmp_path / "out", classes=advice)
    assert reader.classes == ["cat", "ant", "bee"]
    assert set(named(reader)) == {"ant", "bee", "cat"}


@pytest.mark.parametrize("classes", [[], ["a", "a"], ["a", 1], ["a", ""], "no such split"])
def test_classes_that_are_no_list_of_names_are_refused(classes: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="classes="):
        convert(folders(tmp_path / "in", "ant"), tmp_path / "out", classes=classes)


def test_classes_name_numbers_and_number_texts(tmp_path: Path) -> None:
    picture = Image.new("L", (8, 8), 20)
    assert named(convert([(picture, 1)], tmp_path / "numbers", classes=["ant", "bee"])) == ["bee"]
    assert named(convert([(picture, "bee")], tmp_path / "texts", classes=["ant", "bee"])) == ["bee"]
    with pytest.raises(InputError, match="class number 2 has no name"):
        convert([(picture, 2)], tmp_path / "more", classes=["ant", "bee"])
    with pytest.raises(InputError, match="'cat' is not one of"):
        convert([(picture, "ant"), (picture, "cat")], tmp_path / "other", classes=["ant", "bee"])
    with pytest.raises(ConfigError, match="there are none"):
        convert([picture], tmp_path / "none", classes=["ant", "bee"])


def test_a_missing_label_stays_missing(tmp_path: Path) -> None:
    picture, field = Image.new("L", (8, 8), 20), Field("label", "class_label", names=("ant", "bee"))
    convert([(picture, -1), (picture, 1)], tmp_path / "one", fields=[field])
    again = convert(open_reader(tmp_path / "one"), tmp_path / "two", classes=["bee", "ant"])
    assert again.targets.tolist() == [-1, 0]


def test_names_of_fields_never_lie_over_old_numbers(tmp_path: Path) -> None:
    """Names in `fields=` in another order than the folders: the numbers follow."""
    data = folders(tmp_path / "in", "ant", "bee", "dog")
    reader = convert(data, tmp_path / "out", fields=[Field("label", "class_label", names=("dog", "bee", "ant"))])
    assert reader.class_to_idx == {"dog": 0, "bee": 1, "ant": 2}
    assert set(named(reader)) == {"ant", "bee", "dog"}
    with pytest.raises(ConfigError, match="lacks 'dog'"):
        convert(data, tmp_path / "two", fields=[Field("label", "class_label", names=("cat", "bee", "ant"))])


def test_ranks_number_alike(tmp_path: Path) -> None:
    data = folders(tmp_path / "in", "ant", "bee", count=3)
    options = {"num_workers": 0, "images_per_file": 2, "classes": ["bee", "ant"], "num_replicas": 2, "wait": False}
    for rank in (0, 1):
        ParquetConverter(data, tmp_path / "out", rank=rank, **options).convert()
    assert sorted(named(open_reader(tmp_path / "out"))) == ["ant"] * 3 + ["bee"] * 3


# --- splits of one output -------------------------------------------------------------------


def test_a_split_with_fewer_classes_takes_the_numbers_of_the_published_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(folders(tmp_path / "train", "ant", "bee", "cat"), out)
    reader = convert(folders(tmp_path / "val", "ant", "cat"), out, "validation")
    assert reader.classes == ["ant", "bee", "cat"]
    assert named(reader) == ["ant", "ant", "cat", "cat"]
    assert reader.manifest.plan["options"]["classes"] == ["ant", "bee", "cat"]
    again = convert(tmp_path / "val", out, "validation")  # it is there already, and the same
    assert again.manifest == reader.manifest
    assert (
        convert(tmp_path / "val", tmp_path / "named", classes=["ant", "bee", "cat"]).manifest.shards[0].files[0].xxh3
        == reader.manifest.shards[0].files[0].xxh3
    )


def test_splits_with_the_same_classes_are_as_they_were(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(folders(tmp_path / "train", "ant", "bee"), out)
    assert "classes" not in convert(folders(tmp_path / "val", "ant", "bee"), out, "validation").manifest.plan["options"]


@pytest.mark.parametrize("names", [("ant", "bee", "cat"), ("ant", "cat"), ("dog",)])
def test_a_split_with_other_classes_is_an_error_whose_advice_works(names: tuple[str, ...], tmp_path: Path) -> None:
    out, data = tmp_path / "out", folders(tmp_path / "val", *names)
    train = folders(tmp_path / "train", "ant", "bee")
    convert(train, out)
    with pytest.raises(ConfigError, match="the same number would mean different classes") as caught:
        convert(data, out, "validation")
    assert ", ".join(names) in str(caught.value)
    assert "ant, bee" in str(caught.value)
    advice = json.loads(re.search(r"classes=(\[.*?\])", str(caught.value))[1])  # type: ignore[index]
    with pytest.warns(UserWarning, match="'train' are not") if advice != ["ant", "bee"] else _nothing():
        reader = convert(data, out, "validation", classes=advice)
    again = convert(train, out, classes=advice, overwrite=True)
    assert reader.classes == again.classes == advice
    assert set(named(reader)) == set(names)
    assert set(named(again)) == {"ant", "bee"}


class _nothing:  # noqa: N801
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_the_classes_of_a_split_can_be_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(folders(tmp_path / "train", "ant", "bee", "cat"), out)
    reader = convert(folders(tmp_path / "val", "bee"), out, "validation", classes="train")
    assert reader.classes == ["ant", "bee", "cat"]
    assert named(reader) == ["bee", "bee"]
    with pytest.raises(ConfigError, match="has no such split; those with class names are train"):
        convert(tmp_path / "val", out, "test", classes="trian")


def test_a_conversion_goes_on_with_the_classes_that_it_was_begun_with(tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = folders(tmp_path / "val", "ant", "cat")
    options = {"split": "validation", "num_workers": 0, "images_per_file": 2}
    ParquetConverter(data, out, **options, num_replicas=2, rank=0, wait=False).convert()
    convert(folders(tmp_path / "train", "ant", "bee", "cat"), out)  # published in between, with other numbers
    with pytest.raises(ConfigError, match="takes the numbers of the other"):
        ParquetConverter(data, out, **options).convert()
    with pytest.raises(PlanMismatchError, match="overwrite=True"):
        ParquetConverter(data, out, **options, classes="train").convert()
    ParquetConverter(data, out, **options, overwrite=True).convert()
    reader = open_reader(out, split="validation")
    assert reader.classes == ["ant", "bee", "cat"]
    assert named(reader) == ["ant", "ant", "cat", "cat"]


def test_a_split_that_is_replaced_forgets_its_own_classes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(folders(tmp_path / "one", "ant", "bee"), out)
    assert convert(folders(tmp_path / "two", "cat", "dog"), out, overwrite=True).classes == ["cat", "dog"]


# --- index_files and merge ------------------------------------------------------------------


def arrays(path: Path, names: list[str]) -> Path:
    path.mkdir()
    np.savez(path / "a.npz", x=np.stack([np.full((8, 8), COLOURS[n], np.uint8) for n in names]), y=np.array(names))
    return path


def test_indexed_files_are_numbered_by_the_same_rules(tmp_path: Path) -> None:
    index_files(arrays(tmp_path / "a", ["ant", "cat"]) / "a.npz", classes=["dog", "cat", "ant"])
    reader = open_reader(tmp_path / "a")
    assert reader.class_to_idx == {"dog": 0, "cat": 1, "ant": 2}
    assert named(reader) == ["ant", "cat"]

    out = tmp_path / "out"
    convert(folders(tmp_path / "train", "ant", "bee", "cat"), out)
    index_files(arrays(tmp_path / "b", ["ant", "cat"]) / "a.npz", out, "validation")
    reader = open_reader(out, split="validation", data_path=tmp_path / "b")
    assert reader.classes == ["ant", "bee", "cat"]
    assert named(reader) == ["ant", "cat"]
    with pytest.raises(ConfigError, match="different classes"):
        index_files(arrays(tmp_path / "c", ["ant", "dog"]) / "a.npz", out, "test")


def test_a_merged_split_shares_its_classes_too(tmp_path: Path) -> None:
    one = convert(folders(tmp_path / "one", "ant", "cat"), tmp_path / "a")
    two = convert(folders(tmp_path / "two", "ant", "cat"), tmp_path / "b")
    convert(folders(tmp_path / "train", "ant", "bee", "cat"), tmp_path / "out")
    with pytest.raises(ConfigError, match="different classes"):
        merge([one, two], tmp_path / "out", split="both")
    merge([one, two], tmp_path / "alone", split="both")
    assert open_reader(tmp_path / "alone", split="both").classes == ["ant", "cat"]


def test_numbers_are_looked_up_in_classes_that_are_numbers(tmp_path: Path) -> None:
    picture = Image.new("L", (8, 8), 20)
    reader = convert([(picture, 10), (picture, 2), (picture, -1)], tmp_path / "a", classes=["2", "10"])
    assert reader.targets.tolist() == [1, 0, -1]
    with pytest.raises(InputError, match="the label 3 is not one of"):
        convert([(picture, 3)], tmp_path / "b", classes=["2", "10"])
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 8, 8), np.uint8), y=np.array([10, 2]))
    index_files(tmp_path / "a.npz", tmp_path / "index", classes=["2", "10"])
    assert open_reader(tmp_path / "index", data_path=tmp_path).targets.tolist() == [1, 0]


def test_texts_are_looked_up_in_the_names_of_fields(tmp_path: Path) -> None:
    data = [(Image.new("L", (8, 8), 10), "ant"), (Image.new("L", (8, 8), 20), "bee")]
    reader = convert(data, tmp_path, fields=[Field("label", "class_label", names=("bee", "ant"))])
    assert reader.classes == ["bee", "ant"]
    assert named(reader) == ["ant", "bee"]
