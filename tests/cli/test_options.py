"""The options of `convert` are the parameters of the converters, also of a format that is added."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from shardwright.base import formats
from shardwright.base.fields import Field
from shardwright.base.formats import Format, format_names, get_format
from shardwright.base.reader import open_reader
from shardwright.cli.constructor import join_pairs, options_of
from shardwright.tar.converter import TarConverter
from shardwright.tar.reader import TarReader
from tests.cli.commands import Run, convert


@pytest.mark.parametrize("name", format_names())
def test_every_parameter_of_a_converter_is_an_option(name: str, run: Run) -> None:
    _, printed, _ = run("convert", "--format", name, "--help")
    options = options_of(get_format(name).load_converter())
    assert {"images_per_file", "num_workers", "on_error", "fields", "rank"} <= options.keys()
    for option in options.values():
        assert f"{option.flag} " in printed or f"{option.flag}," in printed, option
        assert option.text, f"{option.name} has no text in the class docstring"


class _Sixth(TarConverter):
    """A sixth format.

    Parameters
    ----------
    speed : int
        How fast,
        in knots.
    colour : {"red", "blue"}
        Which.
    hook : callable
        Cannot be typed.
    """

    format_name = "sixth"

    def __init__(
        self,
        *arguments: Any,
        speed: int | None = 4,
        colour: Literal["red", "blue"] = "red",
        hook: Any = None,
        **options: Any,
    ) -> None:
        self.seen = (speed, colour)
        super().__init__(*arguments, **options)

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"seen": list(self.seen)}


class _SixthReader(TarReader):
    format_name = "sixth"


@pytest.fixture
def sixth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Format, "load_converter", lambda self: _Sixth)
    monkeypatch.setattr(Format, "load_reader", lambda self: _SixthReader)
    record = Format("sixth", ".tar", "named:elsewhere", get_format("tar").reader)
    monkeypatch.setitem(formats._FORMATS, "sixth", record)


def test_the_options_of_a_new_format_appear_by_themselves(sixth: None, run: Run) -> None:
    _, printed, _ = run("convert", "--format", "sixth", "--help")
    text = " ".join(printed.split())
    assert "--speed N|none How fast, in knots. (default: 4)" in text
    assert "--colour red|blue Which. (default: red)" in text
    assert "--hook" not in text


def test_the_options_of_a_new_format_reach_its_constructor(sixth: None, photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "sixth", "--speed", "none", "--colour", "blue")
    manifest = json.loads((out / "metadata/train.json").read_text())
    assert manifest["plan"]["options"]["seen"] == [None, "blue"]


def test_a_derived_default_wins() -> None:
    assert options_of(get_format("memmap").load_converter())["batch_size"].default == 100
    assert options_of(get_format("tar").load_converter())["batch_size"].default == 32


def test_a_shape_may_be_two_words() -> None:
    options = options_of(get_format("memmap").load_converter())
    assert join_pairs(["in", "out", "--shape", "8", "16"], options) == ["in", "out", "--shape", "8x16"]
    unchanged = ["--rank", "0", "7", "--shape", "8x4", "9"]
    assert join_pairs(unchanged, options) == unchanged


@pytest.mark.parametrize("shape", [["--shape", "8x16"], ["--shape", "8", "16"], ["--shape=8,16"]])
def test_shape_is_height_then_width(shape: list[str], photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "memmap", *shape)
    assert open_reader(out, output="numpy")[0][0].shape == (8, 16, 3)


def test_fields_are_json(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar", "--fields", '[{"name": "label", "kind": "int"}]')
    assert open_reader(out).fields[1] == Field("label", "int")


@pytest.mark.parametrize("how", ["comma", "json", "file"])
def test_classes_can_be_typed(how: str, photos: Path, out: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\nbee\nant\n")
    text = {"comma": "cat,bee,ant", "json": '["cat", "bee", "ant"]', "file": tmp_path / "names.txt"}[how]
    printed = convert(run, photos, out, "--format", "parquet", "--classes", text)
    assert "3 classes: 0 cat (0), 1 bee (3), 2 ant (4)" in printed
    printed = convert(run, photos, out, "--format", "parquet", "--split", "validation", "--classes", "train")
    assert "3 classes: 0 cat (0), 1 bee (3), 2 ant (4)" in printed
    code, _, errors = run("convert", photos, out, "--format", "parquet", "--split", "test", "--classes", "trian")
    assert (code, "has no such split" in errors) == (2, True)


def test_classes_of_indexed_files_can_be_typed(tmp_path: Path, run: Run) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 8, 8), np.uint8), y=np.array(["bee", "ant"]))
    code, printed, _ = run("index", tmp_path / "a.npz", "--classes", "bee,ant,cat")
    assert (code, "3 classes: 0 bee (1), 1 ant (1), 2 cat (0)" in printed) == (0, True)


def test_all_splits_on_the_command_line(tmp_path: Path, run: Run) -> None:
    for number, name in enumerate(("train/cat", "train/dog", "val/dog")):
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("L", (4, 4), number).save(tmp_path / "in" / name / "a.png")
    data, out = tmp_path / "in", tmp_path / "out"
    code, _, errors = run("convert", data, out, "--format", "parquet")
    assert (code, "--all-splits" in errors) == (1, True)
    code, printed, errors = run("convert", data, out, "--format", "parquet", "--all-splits", "--num-workers", 0)
    assert (code, errors) == (0, "")
    assert "split train, parquet" in printed
    assert "split val, parquet" in printed
    assert "2 classes: 0 cat (0), 1 dog (1)" in printed
    code, _, errors = run("convert", data, out, "--format", "parquet", "--all-splits", "--split", "val")
    assert (code, "give one of them" in errors) == (2, True)


def test_estimates_take_labels_classes_and_splits(tmp_path: Path, run: Run) -> None:
    for name in ("train/a.png", "val/b.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "in" / name)
    (tmp_path / "t.csv").write_text("file,label\na,cat\nb,dog\n")
    one = (tmp_path / "in" / "train", tmp_path / "out", "--format", "parquet", "--estimate")
    for options in (("--labels", tmp_path / "t.csv"), ("--labels", tmp_path / "t.csv", "--classes", "dog,cat"), ()):
        code, printed, errors = run("convert", *one, *options)
        assert (code, errors, "not possible" in printed) == (0, "", False)
    whole = (tmp_path / "in", tmp_path / "out", "--format", "parquet", "--estimate", "--all-splits")
    code, printed, errors = run("convert", *whole)
    assert (code, errors, "not possible" in printed) == (0, "", False)
