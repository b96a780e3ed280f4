"""`convert`: the same files as the library writes, again, and from one format into another."""

import os
import re
from pathlib import Path

import pytest

from shardwright.base.formats import format_names, get_format
from shardwright.base.reader import open_reader
from tests.cli.commands import Run, convert
from tests.conformance.tools import hashes


@pytest.mark.parametrize("name", format_names())
def test_convert_writes_what_the_library_writes(name: str, photos: Path, tmp_path: Path, run: Run) -> None:
    printed = convert(run, photos, tmp_path / "a", "--format", name)
    get_format(name).load_converter()(photos, tmp_path / "b", images_per_file=3, num_workers=0).convert()
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    lines = dict(line.strip().split(None, 1) for line in printed.splitlines())
    sizes = sum(path.stat().st_size for path in photos.rglob("*.png"))
    assert printed.startswith(f"{tmp_path / 'a'}: split train, {name}\n")
    assert lines["images"] == "7 in 3 shards"
    assert f"{sizes} bytes in, " in lines["bytes"]
    assert re.fullmatch(r"[\d.]+ s, [\d,]+ images/s", lines["time"])
    assert lines["ignored"] == "not an image: 1"


def test_convert_again_says_that_nothing_was_to_do(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    before = hashes(out)
    assert "it was complete already" in convert(run, photos, out, "--format", "tar")
    assert hashes(out) == before


def test_one_format_into_another_split_by_split(photos: Path, tmp_path: Path, run: Run) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    convert(run, photos, first, "--format", "tar")
    convert(run, photos / "bee", first, "--format", "tar", "--split", "test")
    convert(run, first, second, "--format", "parquet")
    convert(run, first, second, "--format", "parquet", "--split", "test")
    convert(run, first, second, "--format", "parquet", "--split", "other", "--input-split", "test")
    assert [len(open_reader(second, split=s)) for s in ("train", "test", "other")] == [7, 3, 3]
    assert open_reader(second, output="bytes")[0] == open_reader(first, output="bytes")[0]


def test_more_workers_than_cores_are_no_matter_for_warnings(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar", "--num-workers", (os.cpu_count() or 1) + 1)
