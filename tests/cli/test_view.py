"""`view`: a sheet of samples with their labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.commands import COLOURS, Run, convert


@pytest.mark.parametrize("options", [["parquet"], ["memmap"], ["hdf5", "--compression", "gzip", "--layout", "NCHW"]])
def test_view_draws_samples_with_labels(options: list[str], photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", *options)
    sheet = out.parent / "sheet.png"
    code, printed, _ = run("view", out, "--output", sheet, "--count", 4)
    assert (code, printed) == (0, f"{sheet}: 4 samples of split train\n")
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape == (2 * 184 + 6, 2 * 166 + 6, 3)
    drawn = {tuple(pixels[6 + 80 + 184 * row, 6 + 80 + 166 * column].tolist()) for row in (0, 1) for column in (0, 1)}
    assert drawn == set(COLOURS.values())
    captions = pixels[6 + 160 : 6 + 178, 6:166]
    assert (captions < 100).all(axis=2).any(), "no caption is drawn"


def test_view_is_the_same_for_the_same_seed(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    sheets = [out.parent / f"{number}.png" for number in range(3)]
    for sheet, seed in zip(sheets, (1, 1, 2), strict=True):
        run("view", out, "--output", sheet, "--count", 3, "--seed", seed)
    first, again, other = (sheet.read_bytes() for sheet in sheets)
    assert first == again != other


def test_view_takes_more_than_there_is(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    assert "7 samples" in run("view", out, "--output", out.parent / "s.png", "--count", 100)[1]


@pytest.mark.parametrize(("name", "kind"), [("s.png", "PNG"), ("s.jpg", "JPEG"), ("s.JPEG", "JPEG"), ("s", "PNG")])
def test_view_writes_the_kind_of_file_that_its_name_says(
    name: str, kind: str, photos: Path, out: Path, run: Run
) -> None:
    convert(run, photos, out, "--format", "tar")
    assert run("view", out, "--output", out.parent / name)[0] == 0
    with Image.open(out.parent / name) as sheet:
        assert sheet.format == kind
