"""Which field `targets`, `classes` and `class_to_idx` speak of: the label, never another number."""

import numpy as np
import pytest

from shardwright.base.fields import Field
from shardwright.base.split.classes import class_names, label_field
from shardwright.base.views import concat
from shardwright.cli.view import contact_sheet
from shardwright.parquet.converter import ParquetConverter
from shardwright.parquet.reader import ParquetReader

LABEL, CLASSES = Field("label", "int"), Field("breed", "class_label", names=("beagle", "siamese"))
MASK, NUMBER = Field("mask", "mask", names=("road", "sky")), Field("image_id", "int")
TEXT = Field("label", "text")


@pytest.mark.parametrize(
    ("fields", "label", "names"),
    [
        ((NUMBER, LABEL), LABEL, []),
        ((LABEL, CLASSES), CLASSES, ["beagle", "siamese"]),
        ((CLASSES, Field("label", "class_label", names=("a",))), Field("label", "class_label", names=("a",)), ["a"]),
        ((NUMBER,), None, []),
        ((NUMBER, MASK), None, ["road", "sky"]),
        ((NUMBER, TEXT), TEXT, []),
        ((TEXT, MASK), TEXT, ["road", "sky"]),
        ((LABEL, MASK), LABEL, []),
        ((Field("label", "mask", names=("x",)), MASK), Field("label", "mask", names=("x",)), ["x"]),
        ((NUMBER, Field("label", "float")), Field("label", "float"), []),
    ],
    ids=str,
)
def test_the_label(fields, label, names):
    assert label_field(fields) == label
    assert class_names(fields) == names


def converted(path, fields=(), **values):
    data = [{"image": np.full((8, 8, 3), n, np.uint8)} | {k: v[n] for k, v in values.items()} for n in range(4)]
    ParquetConverter(data, path, num_workers=0, progress=False, fields=fields).convert()
    return ParquetReader(path)


def mends(message):
    """The code that an error gives after its colon or its last word, run by `eval`."""
    return message.rpartition(": ")[2]


def test_labels_as_text_are_not_replaced_by_a_flag(tmp_path):
    reader = converted(tmp_path / "out", label=["Siamese", "Beagle"] * 2, dog=[False, True] * 2)
    for view in (reader, reader.select([2, 0]), concat([reader, reader])):
        with pytest.raises(AttributeError, match=r"the label is of kind 'text'.*read_values") as caught:
            _ = view.targets
        assert view.classes == []
        assert view.class_to_idx == {}
        assert eval(mends(str(caught.value)), {"reader": reader}) == ["Siamese", "Beagle"] * 2


def test_a_width_is_no_label(tmp_path):
    reader = converted(tmp_path / "out", width=[640] * 4, caption=["a dog"] * 4)
    with pytest.raises(AttributeError, match=r"no class label.*'width'.*scalars\('width'\)") as caught:
        _ = reader.targets
    assert str(tmp_path) in str(caught.value)
    assert reader.scalars("width").tolist() == [640] * 4


def test_without_any_number_no_scalars_are_named(tmp_path):
    with pytest.raises(AttributeError, match=r"its fields are \['image', 'caption'\]$"):
        _ = converted(tmp_path / "out", caption=["a"] * 4).targets


def test_the_names_of_a_mask_are_not_those_of_a_number(tmp_path):
    reader = converted(tmp_path / "out", [MASK], mask=[np.zeros((8, 8), np.uint8)] * 4, image_id=[100] * 4)
    assert reader.classes == ["road", "sky"]
    assert reader.class_to_idx == {"road": 0, "sky": 1}
    assert not hasattr(reader, "targets")


def test_scores_are_targets(tmp_path):
    reader = converted(tmp_path / "out", label=[0.5, 1.5, 2.5, 3.5], index=[0, 1, 2, 3])
    assert reader.targets.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert reader.targets.dtype == np.float64


def test_a_target_transform_finds_the_class_label(tmp_path):
    converted(tmp_path / "out", [CLASSES], breed=[1, 0, 1, 0], dog=[True] * 4)
    reader = ParquetReader(tmp_path / "out", target_transform=lambda n: n + 10)
    assert [sample["breed"] for sample in reader] == [11, 10, 11, 10]


@pytest.mark.parametrize("values", [{"width": [640] * 4}, {"label": ["a", "b"] * 2}, {"label": [0, 1, 2, 3]}], ids=str)
def test_a_contact_sheet_shows_any_split(tmp_path, values):
    assert contact_sheet(converted(tmp_path / "out", **values), range(4)).width
