"""The label audit: classes with numbers and counts, where the labels came from, what has none."""

from pathlib import Path

import numpy as np
import pytest

from shardwright import Field, ParquetConverter, concat, merge, open_reader
from shardwright.base.source import Source
from shardwright.base.split.label_audit import LabelAudit

PIXELS = np.zeros((4, 4, 3), np.uint8)


class Told(Source):
    """Labels of any kind, and words for where they were found."""

    labels_from = "column breed of train.csv"

    def __init__(self, labels: list, names: tuple[str, ...] | None = None) -> None:
        self.labels = labels
        self.fields = {"label": Field("label", "class_label", names=names)} if names else {}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {"image": PIXELS, "label": self.labels[index]}


def audit(path: Path, labels: list, names: tuple[str, ...] | None = None) -> LabelAudit:
    ParquetConverter(Told(labels, names), path, num_workers=0).convert()
    return open_reader(path).label_audit


def test_classes_have_their_numbers_names_and_counts_also_the_empty_ones(tmp_path: Path) -> None:
    found = audit(tmp_path / "a", [2, 0, 2, -1], ("cat", "dog", "eel"))
    assert [(c.number, c.name, c.count) for c in found.classes] == [(0, "cat", 1), (1, "dog", 0), (2, "eel", 2)]
    assert (found.field, found.missing, found.labels_from) == ("label", 1, "column breed of train.csv")
    assert str(found) == (
        "field label (class_label), from column breed of train.csv; 3 classes: 0 cat (1), 1 dog (0), 2 eel (2); "
        "1 without a label"
    )


def test_numbers_without_names_are_counted_and_fractions_told_as_a_range(tmp_path: Path) -> None:
    assert "2 classes: 3 (2), 7 (1)" in str(audit(tmp_path / "a", [3, 7, 3]))
    found = audit(tmp_path / "b", [0.5, float("nan"), 2.0])
    assert (found.low, found.high, found.missing) == (0.5, 2.0, 1)
    assert "values from 0.5 to 2; 1 without a label" in str(found)


def test_many_classes_are_told_by_the_first_and_a_range(tmp_path: Path) -> None:
    labels = [n for n in range(30) for _ in range(1 + n % 2)]
    assert "19 (2), and 10 more of 1 to 2 samples" in str(audit(tmp_path / "a", labels))


def test_text_is_said_to_be_text_and_no_label_is_said(tmp_path: Path) -> None:
    assert str(audit(tmp_path / "a", ["x", "y"])) in (
        "none",
        "field label (text), from column breed of train.csv",
    )
    ParquetConverter([(PIXELS,)], tmp_path / "b", num_workers=0).convert()
    assert str(open_reader(tmp_path / "b").label_audit) == "none"


@pytest.mark.parametrize("joined", ["select", "concat", "merge", "again"])
def test_where_labels_came_from_survives_what_is_made_of_a_split(joined: str, tmp_path: Path) -> None:
    audit(tmp_path / "a", [0, 1], ("cat", "dog"))
    reader = open_reader(tmp_path / "a")
    if joined == "merge":
        merge([reader, reader], tmp_path / "b")
        view = open_reader(tmp_path / "b")
    elif joined == "again":
        ParquetConverter(tmp_path / "a", tmp_path / "b", num_workers=0).convert()
        view = open_reader(tmp_path / "b")
    else:
        view = reader.select([1]) if joined == "select" else concat([reader, reader])
    assert view.label_audit.labels_from == "column breed of train.csv"
    assert sum(c.count for c in view.label_audit.classes) == len(view)
