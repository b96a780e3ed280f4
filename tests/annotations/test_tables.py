"""Labels in tables beside the images: found by name, matched by path, name or stem, and what is not used is told."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.parquet.converter import ParquetConverter

FILES = {"a.png": 10, "b.png": 20, "c.png": 30}
LABELS = {"a.png": "cat", "b.png": "dog", "c.png": "cat"}


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "png")
    return file.getvalue()


def folder(path: Path, files: dict[str, int] | None = None) -> Path:
    for name, value in (files or FILES).items():
        (path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "in" / name).write_bytes(png(value))
    return path / "in"


def archive(path: Path, kind: str) -> Path:
    if kind == "zip":
        with zipfile.ZipFile(path / "in.zip", "w") as out:
            for name, value in FILES.items():
                out.writestr(name, png(value))
    else:
        with tarfile.open(path / "in.tar", "w") as out:
            for name, value in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(png(value))
                out.addfile(info, io.BytesIO(png(value)))
    return path / f"in.{kind}"


def table(
    path: Path, kind: str, name: Any = str, label: Any = str, head: tuple[str, str] = ("file_name", "label")
) -> Path:
    rows = [(name(file), label(text)) for file, text in LABELS.items()]
    target = path / f"labels.{kind}"
    if kind == "jsonl":
        target.write_text("".join(json.dumps(dict(zip(head, row, strict=True))) + "\n" for row in rows))
    else:
        cut = "\t" if kind == "tsv" else ","
        target.write_text("".join(cut.join(map(str, row)) + "\n" for row in (head, *rows)))
    return target


def named(reader: Any) -> dict[int, str | None]:
    """Colour to name."""
    return {int(np.asarray(image).max()): reader.classes[label] if label >= 0 else None for image, label in reader}


RIGHT = {10: "cat", 20: "dog", 30: "cat"}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("where", ["folder", "zip", "tar"])
def test_labels_of_a_table(kind: str, where: str, tmp_path: Path) -> None:
    data = folder(tmp_path) if where == "folder" else archive(tmp_path, where)
    labels = table(tmp_path, kind)
    ParquetConverter(data, tmp_path / "out", labels=labels, num_workers=0).convert()
    reader = open_reader(tmp_path / "out")
    assert named(reader) == RIGHT
    assert reader.label_audit.labels_from == f"column label of labels.{kind}"
    if where != "folder":
        index_files(data, tmp_path / "index", labels=labels)
        assert named(open_reader(tmp_path / "index", data_path=tmp_path)) == RIGHT


@pytest.mark.parametrize(
    ("name", "head"),
    [
        (lambda n: n.partition(".")[0], ("id", "breed")),  # Kaggle's
        (lambda n: f"some/where/{n}", ("path", "class")),
        (lambda n: f".\\{n}", ("Image", "Target")),
        (str, ("photo", "what")),
    ],
)
def test_names_of_files_and_of_columns(name: Any, head: tuple[str, str], tmp_path: Path) -> None:
    labels = str(table(tmp_path, "csv", name, head=head))
    if head[0] == "photo":
        with pytest.raises(ConfigError, match="FILE_COLUMN:LABEL_COLUMN"):
            open_source(folder(tmp_path), labels=labels)
        labels += ":photo:what"
    ParquetConverter(folder(tmp_path), tmp_path / "out", labels=labels, num_workers=0).convert()
    assert named(open_reader(tmp_path / "out")) == RIGHT


def test_other_columns_and_rows_and_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file_name,label,age\na.png,cat,3\nc.png,cat,5\nz.png,eel,7\n")
    source = open_source(folder(tmp_path), labels=tmp_path / "t.csv")
    assert [source[i]["label"] for i in range(3)] == [0, -1, 0]
    assert source.ignored["image without a row in t.csv: kept, its label is missing"] == 1
    assert source.ignored["row of t.csv without an image"] == 1
    assert source.ignored["column age of t.csv, not used"] == 1


def test_numbers_and_fractions(tmp_path: Path) -> None:
    data = folder(tmp_path)
    for text, kind, wanted in (("3", "int", [3, 3, 3]), ("0.5", "float", [0.5] * 3)):
        labels = table(tmp_path, "csv", label=lambda _, text=text: text)
        ParquetConverter(data, tmp_path / kind, labels=labels, num_workers=0).convert()
        reader = open_reader(tmp_path / kind)
        assert (reader.fields[1].kind, reader.targets.tolist(), reader.classes) == (kind, wanted, [])


def test_labels_win_over_folders_and_classes_number_them(tmp_path: Path) -> None:
    data = folder(tmp_path, {"x/a.png": 10, "y/b.png": 20, "y/c.png": 30})
    source = open_source(data, labels=table(tmp_path, "csv"))
    assert source.fields["label"].names == ("cat", "dog")
    assert "classes by folder names, not used: labels=labels.csv is" in source.ignored
    ParquetConverter(
        data, tmp_path / "out", labels=tmp_path / "labels.csv", classes=["dog", "cat"], num_workers=0
    ).convert()
    reader = open_reader(tmp_path / "out")
    assert reader.classes == ["dog", "cat"]
    assert named(reader) == RIGHT


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("file_name,label\n", "is empty"),
        ("file_name,label\na.png\n", "row 2 has 1 cells"),
        ("file_name,label\nq.png,cat\n", "is about none of the images"),
        ("file_name,label\na.png,cat\na.png,dog\n", "two rows about a.png"),
        ("file_name,file_name\na.png,cat\n", "two columns of one name"),
        ("a,b,c\n1,2,3\n", "say which name"),
    ],
)
def test_wrong_tables_are_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises((InputError, ConfigError), match=told):
        open_source(folder(tmp_path), labels=tmp_path / "t.csv")


def test_names_without_folders_must_be_different(tmp_path: Path) -> None:
    data = folder(tmp_path, {"x/a.png": 10, "y/a.png": 20})
    (tmp_path / "t.csv").write_text("file_name,label\na.png,cat\n")
    with pytest.raises(InputError, match=r"two are called a\.png"):
        open_source(data, labels=tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("file_name,label\nx/a.png,cat\ny/a.png,dog\n")
    assert [open_source(data, labels=tmp_path / "t.csv")[i]["label"] for i in range(2)] == [0, 1]


def test_labels_of_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    labels = table(tmp_path, "csv")
    with pytest.raises(ConfigError, match="leave it out"):
        open_source([(Image.new("L", (4, 4)), 1)], labels=labels)
    with pytest.raises(InputError, match="does not exist"):
        open_source(folder(tmp_path), labels=tmp_path / "none.csv")
    (tmp_path / "t.xml").write_text("<a/>")
    with pytest.raises(ConfigError, match=r"give a \.csv"):
        open_source(folder(tmp_path), labels=tmp_path / "t.xml")


def test_ranks_have_the_same_labels(tmp_path: Path) -> None:
    data, labels = folder(tmp_path), table(tmp_path, "csv")
    for rank in (0, 1):
        options = {"num_workers": 0, "images_per_file": 1, "rank": rank, "num_replicas": 2, "wait": False}
        ParquetConverter(data, tmp_path / "out", labels=labels, **options).convert()
    assert named(open_reader(tmp_path / "out")) == RIGHT


def test_another_table_is_another_input(tmp_path: Path) -> None:
    data, labels = folder(tmp_path), table(tmp_path, "csv")
    before = open_source(data, labels=labels)
    labels.write_text(labels.read_text().replace("dog", "eel"))
    assert open_source(data, labels=labels).content() != before.content()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata_of_hugging_face_is_found(kind: str, tmp_path: Path) -> None:
    data = folder(tmp_path)
    rows = [{"file_name": n, "label": LABELS[n], "age": i, "text": f"a caption {i}"} for i, n in enumerate(FILES)]
    if kind == "jsonl":
        (data / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (data / "metadata.csv").write_text("\n".join(lines) + "\n")
    source = open_source(data)
    assert source.labels_from == f"column label of metadata.{kind}"
    assert [source[i]["label"] for i in range(3)] == [0, 1, 0]
    assert [source[i]["age"] for i in range(3)] == [0, 1, 2]
    assert f"column text of metadata.{kind}, not used" in source.ignored


def test_tables_that_are_not_used_are_told(tmp_path: Path) -> None:
    data = folder(tmp_path)
    (data / "labels.csv").write_text("file,label\na.png,1\n")
    (data / "annotations.json").write_text("{}")
    (tmp_path / "in_labels.csv").write_text("file,label\n")
    (tmp_path / "train.csv").write_text("file,label\n")
    ignored = open_source(data).ignored
    assert "labels.csv beside the images, not used: pass labels='labels.csv'" in ignored
    assert "annotations.json beside the images, not used: pass labels='annotations.json'" in ignored
    assert "../in_labels.csv beside the images, not used: pass it as labels=" in ignored


def test_a_table_is_about_all_images_whatever_folder_they_lie_in(tmp_path: Path) -> None:
    files = {"a.png": 10, "x/b.png": 20, "x/y/c.png": 30}
    labels = table(tmp_path, "csv")
    source = open_source(folder(tmp_path, files), labels=labels)
    assert [source[i]["label"] for i in range(3)] == [0, 1, 0]
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as out:
        for name, value in files.items():
            out.writestr(name, png(value))
    source = open_source(tmp_path / "in.zip", labels=labels)
    assert sorted((source.name(i), source[i]["label"]) for i in range(3)) == [
        ("a.png", 0),
        ("x/b.png", 1),
        ("x/y/c.png", 0),
    ]


def test_cells_with_line_ends_commas_and_marks(tmp_path: Path) -> None:
    text = '\ufefffile_name,label\r\n"a.png","x, y"\r\nb.png,"two\nlines"\r\nc.png,""\r\n'
    (tmp_path / "t.csv").write_bytes(text.encode())
    source = open_source(folder(tmp_path), labels=tmp_path / "t.csv")
    assert source.fields["label"].names == ("two\nlines", "x, y")
    assert [source[i]["label"] for i in range(3)] == [1, 0, -1]


def test_classes_that_are_numbers_are_looked_up(tmp_path: Path) -> None:
    labels = table(tmp_path, "csv", label=lambda name: {"cat": "1", "dog": "0"}[name])
    ParquetConverter(folder(tmp_path), tmp_path / "out", labels=labels, classes=["1", "0"], num_workers=0).convert()
    assert named(open_reader(tmp_path / "out")) == {10: "1", 20: "0", 30: "1"}


def test_tables_in_archives_that_are_not_used_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as out:
        for name, value in FILES.items():
            out.writestr(name, png(value))
        out.writestr("labels.csv", "file,label\na.png,1\n")
    ignored = open_source(tmp_path / "in.zip").ignored
    assert ignored == {"labels.csv in the archive, not used: unpack it and pass labels='labels.csv'": 1}


def test_true_and_false_are_numbers_and_a_nul_is_told(tmp_path: Path) -> None:
    data = folder(tmp_path)
    lines = [json.dumps({"file_name": n, "label": n == "b.png"}) for n in FILES]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    assert [open_source(data, labels=tmp_path / "t.jsonl")[i]["label"] for i in range(3)] == [0, 1, 0]
    (tmp_path / "t.csv").write_text("file_name,label\na.png,cat\0\nb.png,cat\n")
    with pytest.raises(InputError, match="label 0 is"):
        open_source(data, labels=tmp_path / "t.csv")
