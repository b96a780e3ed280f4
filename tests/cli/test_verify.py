"""`verify`: whether the files are whole, and which are not."""

import os
from pathlib import Path

from PIL import Image

from shardwright.tar.converter import TarConverter
from tests.cli.commands import Run, convert


def test_verify_names_the_damage(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    code, printed, errors = run("verify", out)
    assert (code, errors) == (0, "")
    assert ": train: all right (7 samples, " in printed
    shard = out / "data/train-00001-of-00003.tar"
    content = bytearray(shard.read_bytes())
    content[520] ^= 1
    shard.write_bytes(content)
    code, printed, errors = run("verify", out)
    assert code == 1
    assert [line.partition(": ")[0] for line in printed.splitlines()] == [str(shard), str(shard)]
    assert "split train, shard 1, sample 3, field image" in printed
    assert "2 problems found; restore the named files" in errors


def test_verify_shows_some_damaged_samples_of_a_file_or_all(tmp_path: Path, run: Run) -> None:
    pictures = [Image.new("L", (5, 5), number) for number in range(20)]
    TarConverter(pictures, tmp_path, images_per_file=15, num_workers=0).convert()
    for shard in (tmp_path / "data").iterdir():
        os.truncate(shard, 0)
    code, printed, errors = run("verify", tmp_path)
    lines = printed.splitlines()
    assert code == 1
    assert lines[10] == f"{tmp_path / 'data/train-00000-of-00002.tar'}: 6 more problems; --all lists them"
    assert len(lines) == 10 + 1 + 6
    assert "22 problems found" in errors
    code, printed, errors = run("verify", tmp_path, "--all")
    assert code == 1
    assert len(printed.splitlines()) == 22
    assert "sample 13, field image" in printed


def test_verify_names_its_own_options(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    (out / "data/train-00000-of-00003.tar").unlink()
    _, printed, errors = run("verify", out)
    assert "pass --data-path" in printed
    assert ": 1 problem found;" in errors
