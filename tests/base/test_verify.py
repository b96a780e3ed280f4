"""`verify` finds every changed byte, in every file of every format, and names what it hit."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardwright.base import formats
from shardwright.base.errors import IncompleteDatasetError
from shardwright.base.formats import Format, format_names, get_format
from shardwright.base.reader import open_reader
from shardwright.base.split.manifest import load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import StoredFile
from shardwright.base.storage.hashes import hash_file
from shardwright.base.verify import verify
from shardwright.memmap.reader import MemmapReader

FORMATS = [*format_names(), "hdf5-gzip"]
SAMPLES, PER_SHARD = 7, 3


def dataset() -> list[tuple[Image.Image, int]]:
    rng = np.random.default_rng(0)
    return [(Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8)), i % 5) for i in range(SAMPLES)]


def convert(name: str, out: Path, **options: Any) -> Path:
    record = get_format(name.partition("-")[0])
    if record.load_converter().fixed_size:
        options["shape"] = (9, 8)
    if name == "hdf5-gzip":
        options["compression"] = "gzip"
    record.load_converter()(dataset(), out, PER_SHARD, 2, 0, progress=False, **options).convert()
    return out


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("verify")
    return {name: convert(name, root / name) for name in FORMATS}


@pytest.fixture(params=FORMATS)
def split(request: pytest.FixtureRequest, converted: dict[str, Path], tmp_path: Path) -> Path:
    """A converted split that may be damaged."""
    return Path(shutil.copytree(converted[request.param], tmp_path / "out"))


def files_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def reasons(root: Path) -> str:
    return "\n".join(map(str, verify(root).problems))


def change(path: Path, position: int, bits: int = 0xFF) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


def test_a_sound_split_has_no_problem(split: Path) -> None:
    report = verify(split)
    assert report.ok
    assert report.problems == report.left_over == ()
    assert (report.splits, report.samples) == (("train",), SAMPLES)
    assert report.files == len(files_of(split))
    on_disk = sum(path.stat().st_size for path in files_of(split))
    assert report.nbytes == on_disk - (split / "metadata/train.json").stat().st_size


def test_a_changed_byte_in_any_file_is_found(split: Path) -> None:
    for path in files_of(split):
        size = path.stat().st_size
        for number, position in enumerate(sorted({*range(0, size, max(1, size // 12)), size - 1})):
            change(path, position, bits := 1 << number % 8)
            assert str(path) in reasons(split), f"{path.name}: bit {bits} of byte {position}"
            change(path, position, bits)
    assert verify(split).ok


def test_every_length_of_a_cut_or_longer_file_is_found(split: Path) -> None:
    for path in files_of(split):
        content = path.read_bytes()
        for wrong in (b"", content[: len(content) // 2], content[:-1], content + b"\0"):
            path.write_bytes(wrong)
            assert str(path) in reasons(split), f"{path.name} with {len(wrong)} bytes"
        path.write_bytes(content)


def test_a_missing_file_is_found(split: Path) -> None:
    for path in files_of(split):
        if path.name == "train.json":  # the split is then gone as a whole, see below
            continue
        content = path.read_bytes()
        path.unlink()
        assert f"{path}: split train" in reasons(split)
        path.write_bytes(content)


def test_the_damaged_sample_is_named_and_no_other(split: Path) -> None:
    reader = open_reader(split)
    sample = 4  # the second of the second shard
    files = reader.manifest.shards[1].files
    path = split / "data" / files[reader.manifest.field_files["image"]].name
    change(path, int(reader.stored.records["image_offset"][sample]))
    samples = [(p.path, p.shard, p.sample, p.field) for p in verify(split).problems if p.sample is not None]
    assert samples == [(path, 1, sample, "image")]
    assert f"{path}: split train, shard 1, sample 4, field image: " in reasons(split)


def test_swapped_shards_are_found(split: Path) -> None:
    shards = load_manifest(SplitPaths(split, "train")).shards
    for a, b in zip(shards[0].files, shards[1].files, strict=True):
        first, second = split / "data" / a.name, split / "data" / b.name
        one, two = first.read_bytes(), second.read_bytes()
        first.write_bytes(two)
        second.write_bytes(one)
    assert {p.shard for p in verify(split).problems} == {0, 1}


def test_an_index_that_lies_is_found_even_with_right_hashes(split: Path) -> None:
    """Index and manifest forged together: the shards themselves contradict them."""
    paths = SplitPaths(split, "train")
    manifest = load_manifest(paths)
    index = np.load(paths.index)
    index["image_offset"][[0, 1]] = index["image_offset"][[1, 0]]
    index["image_length"][[0, 1]] = index["image_length"][[1, 0]]
    index["image_xxh3"][[0, 1]] = index["image_xxh3"][[1, 0]]
    reforge(paths, manifest, index)
    found = [(p.sample, p.field) for p in verify(split).problems]
    assert found == [(0, "image"), (1, "image")]


def test_ranges_beyond_the_file_are_reported_not_read(split: Path) -> None:
    paths = SplitPaths(split, "train")
    manifest = load_manifest(paths)
    index = np.load(paths.index)
    index["image_offset"][2], index["image_length"][2] = 2**62, 2**62
    index["image_offset"][3] = -1
    reforge(paths, manifest, index)
    assert {p.sample for p in verify(split).problems} == {2, 3}


def reforge(paths: SplitPaths, manifest: Any, index: np.ndarray) -> None:
    import dataclasses

    header = paths.index.stat().st_size - index.nbytes
    paths.index.write_bytes(paths.index.read_bytes()[:header] + index.tobytes())
    stored = StoredFile(paths.index.name, paths.index.stat().st_size, hash_file(paths.index))
    paths.manifest.write_bytes(dataclasses.replace(manifest, index=stored).to_bytes())


def test_a_manifest_written_otherwise_with_the_same_values_is_found(split: Path) -> None:
    path = split / "metadata/train.json"
    path.write_bytes(path.read_bytes() + b" ")
    assert "byte for byte" in reasons(split)


def test_unknown_files_are_problems_and_leftovers_are_not(split: Path) -> None:
    stray = split / "data" / f"train-00009-of-00003{next((split / 'data').iterdir()).suffix}"
    stray.write_bytes(b"stray")
    (split / "metadata/.train.part-00000").write_bytes(b"left by a killed run")
    (split / "README.md").write_text("beside our two folders everything is the user's\n")
    report = verify(split)
    assert [p.path for p in report.problems] == [stray]
    assert report.left_over == (split / "metadata/.train.part-00000",)


def test_shards_of_an_unfinished_split_are_left_over(split: Path) -> None:
    (split / "metadata/.test.plan.json").write_text("{}")
    shard = split / "data/test-00000-of-00002.tar"
    shard.write_bytes(b"written so far")
    report = verify(split)
    assert report.ok
    assert shard in report.left_over


def test_a_lost_manifest_shows_as_unknown_files(tmp_path: Path) -> None:
    convert("tar", tmp_path / "out")
    convert("tar", tmp_path / "out", split="test")
    (tmp_path / "out/metadata/test.json").unlink()
    assert {p.path.name.partition("-")[0] for p in verify(tmp_path / "out").problems} >= {"test"}
    assert verify(tmp_path / "out", "train").ok


def test_all_splits_are_checked_unless_one_is_named(tmp_path: Path) -> None:
    root = convert("parquet", tmp_path / "out")
    convert("memmap", root, split="test")
    change(root / "data/test-00001-of-00003.label.npy", -1)
    assert verify(root).splits == ("test", "train")
    assert [p.split for p in verify(root).problems] == ["test"]
    assert verify(root, "train").ok
    assert not verify(root, "test").ok


def test_a_missing_split_is_an_error(tmp_path: Path) -> None:
    root = convert("tar", tmp_path / "out")
    with pytest.raises(IncompleteDatasetError, match="it holds the splits train"):
        verify(root, "test")
    with pytest.raises(IncompleteDatasetError, match="holds no converted split"):
        verify(tmp_path / "nothing")


def test_a_line_stays_one_line_whatever_the_name(tmp_path: Path) -> None:
    root = convert("tar", tmp_path / "new\nline\x1b[31m")
    change(root / "data/train-00000-of-00003.tar", 600)
    for problem in verify(root).problems:
        assert str(problem).isprintable()
        assert "new\\nline\\x1b" in str(problem)


class _LabelsOff(MemmapReader):
    """Says that the shards hold other labels than the index."""

    format_name = "labels_off"

    @staticmethod
    def _read_scalars(path: Path, fields: Any) -> Mapping[str, Any]:
        labels = np.load(path.with_name(path.name.replace(".npy", ".label.npy")))
        return {"label": np.where(labels == 4, 3, labels)}


def test_scalars_that_a_format_can_read_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Format("memmap", ".npy", get_format("memmap").converter, f"{__name__}:_LabelsOff")
    root = convert("memmap", tmp_path / "out")
    monkeypatch.setitem(formats._FORMATS, "memmap", record)
    monkeypatch.setattr(Format, "load_reader", lambda self: _LabelsOff)
    assert [(p.sample, p.field) for p in verify(root).problems] == [(4, "label")]
    assert "is 3, the index says 4" in reasons(root)


def test_a_file_that_cannot_be_read_is_a_problem_not_a_crash(split: Path) -> None:
    path = next((split / "data").iterdir())
    path.unlink()
    path.mkdir()
    assert f"{path}: split train, shard " in reasons(split)


def test_a_label_that_the_index_has_otherwise_is_found(split: Path) -> None:
    paths = SplitPaths(split, "train")
    index = np.load(paths.index)
    index["label"][5] += 1
    reforge(paths, load_manifest(paths), index)
    assert [(p.shard, p.sample, p.field) for p in verify(split).problems] == [(1, 5, "label")]
