"""`info`: what is in a dataset, as text and as JSON."""

import json
from pathlib import Path

from PIL import Image

from tests.cli.commands import CLASSES, Run, convert


def test_info_shows_what_is_in_it(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "parquet")
    convert(run, photos, out, "--format", "memmap", "--split", "small", "--shape", "4x6")
    code, printed, _ = run("info", out)
    assert code == 0
    for part in (
        "split small: memmap",
        "reader   MemmapReader, from shardwright.memmap.reader",
        "split train: parquet",
        "image: image, 4x6x3 uint8, modes RGB (7), 72 bytes each",
        "7 in 3 shards of up to 3",
        "2 classes: 0 ant (4), 1 bee (3)",
        "not an image: 1",
    ):
        assert part in printed
    assert "split train" not in run("info", out, "--split", "small")[1]


def test_info_as_json_has_everything(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "hdf5", "--shape", "4x6")
    found = json.loads(run("info", out, "--json")[1])
    split = found["splits"]["train"]
    assert found["path"] == str(out)
    assert (split["format"], split["samples"], split["shards"]) == ("hdf5", 7, 3)
    assert split["classes"] == list(CLASSES)
    assert split["class_counts"] == list(CLASSES.values())
    assert split["fields"]["image"]["shape"] == [4, 6, 3]
    assert split["fields"]["image"]["modes"] == {"RGB": 7}
    assert split["options"]["images_per_file"] == 3
    paths = [p for p in out.rglob("*") if p.is_file() and p.name != "train.json"]
    assert split["bytes"] == sum(path.stat().st_size for path in paths)


def test_names_that_would_steer_a_terminal_are_escaped(tmp_path: Path, run: Run) -> None:
    (tmp_path / "in/\x1b[31mred").mkdir(parents=True)
    Image.new("L", (2, 2)).save(tmp_path / "in/\x1b[31mred/a.png")
    convert(run, tmp_path / "in", tmp_path / "out", "--format", "tar")
    printed = run("info", tmp_path / "out")[1]
    assert "\x1b" not in printed
    assert "0 \\x1b[31mred (1)" in printed
