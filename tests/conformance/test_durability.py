"""Damage of any kind is found: nothing that was not written is ever handed out."""

import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import CorruptShardError, IncompleteDatasetError, ShardwrightError, UnsafeDataError
from shardwright.base.verify import verify
from tests.conformance.children import in_child
from tests.conformance.tools import Store, hashes, numbered, picture, same_as_numbered

COUNT = 7
MANIFEST_ERRORS = (IncompleteDatasetError, UnsafeDataError)


def small_split(store: Store, folder: Path) -> Path:
    """A split of three shards that may be damaged."""
    if not (store.root / "small").exists():
        store.convert(numbered(COUNT), "small", images_per_file=3)
    shutil.copytree(store.root / "small", folder / "small")
    return folder / "small"


@pytest.fixture
def split(store: Store, tmp_path: Path) -> Path:
    return small_split(store, tmp_path)


def flip(path: Path, bit: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def some_bits(content: bytes, count: int = 12) -> list[int]:
    """Bits of a file at random, half of them in bytes that are not zero: tar files are mostly padding."""
    rng = random.Random(len(content))
    used = [8 * place + rng.randrange(8) for place, byte in enumerate(content) if byte]
    return [rng.randrange(len(content) * 8) for _ in range(count // 2)] + rng.choices(used, k=count - count // 2)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def damages() -> dict[str, Callable[[list[Path]], None]]:
    """Ways to damage shards of which the size or the presence tells."""
    return {
        "cut by one byte": lambda files: cut(files[1], files[1].stat().st_size - 1),
        "cut in the middle": lambda files: cut(files[1], files[1].stat().st_size // 2),
        "emptied": lambda files: cut(files[1], 0),
        "appended to": lambda files: files[1].write_bytes(files[1].read_bytes() + b"\0"),
        "deleted": lambda files: files[1].unlink(),
        "replaced by a folder": lambda files: (files[1].unlink(), files[1].mkdir()),
        "replaced by a dangling link": lambda files: (files[1].unlink(), files[1].symlink_to("nowhere")),
    }


@pytest.mark.parametrize("damage", damages())
def test_opening_finds_shards_of_another_size(store: Store, split: Path, damage: str):
    """Faults 100, 102, 105."""
    files = store.shards(split)
    damages()[damage](files)
    with pytest.raises((CorruptShardError, IncompleteDatasetError), match=files[1].name):
        store.open(split)
    report = verify(split)
    assert [problem.path for problem in report.problems if problem.path == files[1]]


def test_every_truncation_is_found_at_opening(store: Store, split: Path):
    """Fault 100: at every 512 bytes, and one byte beside."""
    file = store.shards(split)[-1]
    whole = file.read_bytes()
    for edge in {*range(0, len(whole), 512), 128, len(whole)}:
        for length in (edge - 1, edge, edge + 1):
            if 0 <= length < len(whole):
                file.write_bytes(whole[:length])
                with pytest.raises(CorruptShardError, match=file.name):
                    store.open(split)
    file.write_bytes(whole)
    assert same_as_numbered(list(store.open(split, check=True)), range(COUNT))


def read_checked(store: Store, split: Path) -> tuple[int, int]:
    """How many samples were read, and how many of them raised; a wrong one fails."""
    reader = store.open(split, check=True)
    raised = 0
    for number in range(len(reader)):
        try:
            sample = reader[number]
        except CorruptShardError as error:
            told = f"of sample {number} is not what was written" in str(error)
            raised += 1
        else:
            told = same_as_numbered([sample], [number])
        assert told, f"sample {number} is wrong"
    return len(reader), raised


def test_a_flipped_bit_in_a_shard_is_found(store: Store, split: Path):
    """Faults 99, 106. Checked reads give the right sample or an error; `verify` finds every bit, harmless or not."""
    found = 0
    for file in store.shards(split):
        whole = file.read_bytes()
        for bit in some_bits(whole):
            flip(file, bit)
            found += read_checked(store, split)[1]
            assert not verify(split).ok, f"bit {bit} of {file.name}"
            file.write_bytes(whole)
    assert found, "no flip ever met a sample: the check of this test checks nothing"
    assert verify(split).ok


def test_without_checks_a_flipped_bit_can_become_a_pixel(store: Store, split: Path):
    """Fault 99, the control: the same flips do reach samples when reading is told not to check."""
    wrong = 0
    for file in store.shards(split):
        whole = file.read_bytes()
        for bit in some_bits(whole):
            flip(file, bit)
            reader = store.open(split, check=False)
            for number in range(COUNT):
                try:
                    wrong += not same_as_numbered([reader[number]], [number])
                except (ShardwrightError, ValueError):
                    wrong += 1
            file.write_bytes(whole)
    assert wrong


@pytest.mark.parametrize("size", [64, 512, 4096])
def test_a_run_of_zeros_or_of_foreign_bytes_is_found(store: Store, split: Path, size: int):
    """Fault 101: also bytes of another shard, in the same place."""
    first, last = store.shards(split)[0], store.shards(split)[-1]
    whole = first.read_bytes()
    for source in (bytes(len(whole)), last.read_bytes().ljust(len(whole), b"\1")):
        for start in range(0, len(whole), max(size, len(whole) // 8)):
            damaged = whole[:start] + source[start : start + size] + whole[start + size :]
            if damaged != whole:
                first.write_bytes(damaged[: len(whole)])
                read_checked(store, split)
                assert not verify(split).ok
    first.write_bytes(whole)
    assert verify(split).ok


def test_swapped_and_duplicated_shards_are_found(store: Store, split: Path):
    """Fault 103: a shard is not another one, even of the same size."""
    files = [file for file in store.shards(split) if "00002" not in file.name]
    half = len(files) // 2
    first, second = files[0], files[half]
    contents = first.read_bytes(), second.read_bytes()
    for a, b in ((contents[1], contents[0]), (contents[1], contents[1])):
        first.write_bytes(a)
        second.write_bytes(b)
        assert not verify(split).ok
        try:
            read_checked(store, split)
        except CorruptShardError:
            continue


def test_a_shard_of_an_older_run_is_found(store: Store, split: Path):
    """Fault 104: other images of the same sizes, labels and names."""
    older = [(picture(n + 100, size=(8, 12)), n) for n in range(COUNT)]
    path = store.convert(older, split.parent / "older", images_per_file=3)
    name = store.shards(split)[0].name
    shutil.copy(path / "data" / name, split / "data" / name)
    assert not verify(split).ok
    try:
        _, raised = read_checked(store, split)
    except CorruptShardError:
        return
    assert raised


def test_every_flipped_bit_of_the_index_is_found_at_opening(store: Store, split: Path):
    """Faults 99, 108, 123."""
    index = split / "metadata" / "train.index.npy"
    whole = index.read_bytes()
    for byte in range(len(whole)):
        flip(index, byte * 8 + byte % 8)
        with pytest.raises(CorruptShardError, match=r"train\.index\.npy"):
            store.open(split)
        index.write_bytes(whole)


def test_every_flipped_bit_of_the_manifest_is_found(store: Store, split: Path):
    """Faults 61, 99. What stays the same JSON value (a blank) is harmless to readers; `verify` finds it too."""
    manifest = split / "metadata" / "train.json"
    whole = manifest.read_bytes()
    silent = 0
    for byte in range(0, len(whole), 3):
        flip(manifest, byte * 8 + byte // 3 % 8)
        try:
            reader = store.open(split)
        except MANIFEST_ERRORS:
            continue
        else:
            silent += 1
            assert reader.manifest == store.open(store.root / "small").manifest
            assert not verify(split).ok
        finally:
            manifest.write_bytes(whole)
    assert silent < len(whole) // 3 // 2


def test_every_truncation_of_the_manifest_is_incomplete(store: Store, split: Path):
    """Fault 61."""
    manifest = split / "metadata" / "train.json"
    whole = manifest.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        manifest.write_bytes(whole[:length])
        with pytest.raises(IncompleteDatasetError, match=r"train\.json"):
            store.open(split)
    manifest.write_bytes(bytes(len(whole)))
    with pytest.raises(IncompleteDatasetError):
        store.open(split)


@pytest.mark.parametrize("name", ["train.index.npy", "train.json"])
def test_missing_metadata_is_incomplete(store: Store, split: Path, name: str):
    (split / "metadata" / name).unlink()
    with pytest.raises(IncompleteDatasetError):
        store.open(split)


def test_a_shard_that_is_cut_while_it_is_open_raises(store: Store, split: Path):
    """Fault 96: an error, where a mapped file would end the process."""
    reader = store.open(split)
    assert same_as_numbered([reader[0]], [0])
    for file in store.shards(split):
        cut(file, 64)
    for number in range(COUNT):
        with pytest.raises(CorruptShardError):
            reader[number]


def test_a_shard_that_is_replaced_under_a_reader_is_found(store: Store, split: Path):
    """Fault 96: the reader has the old file open, or notices the new one."""
    reader = store.open(split, check=True)
    assert same_as_numbered([reader[0]], [0])
    for file in store.shards(split):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content[::-1])
    for number in range(COUNT):
        try:
            assert same_as_numbered([reader[number]], [number])
        except CorruptShardError:
            continue


OPENED: dict[str, dict[str, Any]] = {
    "checked": {"check": True},
    "unchecked": {"check": False},
    "mapped": {"mmap": True},
}


@pytest.mark.parametrize("how", OPENED)
def test_a_reader_that_is_open_while_its_split_is_replaced(store: Store, tmp_path: Path, how: str):
    """Fault 67: the old samples or an error, never a mixture."""
    path = store.convert(numbered(COUNT), tmp_path / "out", images_per_file=3)
    used, unused, elsewhere = (
        store.open(path, **OPENED[how]),
        store.open(path, **OPENED[how]),
        store.open(path, data_path=path / "data", **OPENED[how]),
    )
    assert same_as_numbered([used[0]], [0])
    sent = pickle.dumps(used)
    newer = [(picture(n + 100, size=(8, 12)), n + 100) for n in range(COUNT)]
    store.convert(newer, tmp_path / "out", images_per_file=3, overwrite=True)
    for reader in (used, unused, elsewhere, pickle.loads(sent)):
        raised = 0
        for number in range(COUNT):
            try:
                sample = reader[number]
            except CorruptShardError:
                raised += 1
                continue
            assert reader is used
            assert same_as_numbered([sample], [number])
        assert raised >= COUNT - 3, "only the shard that was open can still be read"
    assert in_child(lambda: read_or_error(used, COUNT - 1)) == "error"
    assert store.open(path).targets.tolist() == [n + 100 for n in range(COUNT)]


def read_or_error(reader: Any, number: int) -> str:
    try:
        reader[number]
    except CorruptShardError:
        return "error"
    return "read"


def test_a_reader_whose_split_is_replaced_by_the_same_reads_on(store: Store, split: Path):
    """Fault 67: another manifest that says the same is looked at once, and is right."""
    reader = store.open(split)
    store.convert(numbered(COUNT), split, images_per_file=3, overwrite=True)
    assert same_as_numbered(list(reader), range(COUNT))


def test_a_reader_whose_manifest_is_gone_opens_no_further_shard(store: Store, split: Path):
    """Fault 67: so it is while a split is being replaced."""
    reader = store.open(split)
    (split / "metadata" / "train.json").unlink()
    with pytest.raises(CorruptShardError, match=r"train\.json: split 'train' was replaced or removed.*open the reader"):
        reader[0]


def test_reading_changes_nothing(store: Store, split: Path):
    """Fault 92, in part: a reader writes no lock, no cache and no time."""
    before = hashes(split)
    names = {path: path.stat().st_mtime_ns for path in split.rglob("*")}
    reader = store.open(split)
    list(reader)
    assert verify(split).ok
    assert hashes(split) == before
    assert {path: path.stat().st_mtime_ns for path in split.rglob("*")} == names


def test_an_extra_shard_is_reported(store: Store, split: Path):
    """Fault 105: it does no harm to readers."""
    file = store.shards(split)[0]
    extra: Any = file.with_name(file.name.replace("00000", "00009"))
    shutil.copy(file, extra)
    assert same_as_numbered(list(store.open(split)), range(COUNT))
    assert [problem.path for problem in verify(split).problems] == [extra]


def test_a_moved_dataset_reads_the_same(store: Store, split: Path, tmp_path: Path):
    moved = split.rename(tmp_path / "elsewhere")
    assert same_as_numbered(list(store.open(moved)), range(COUNT))
    assert np.array_equal(store.open(moved).targets, np.arange(COUNT))
