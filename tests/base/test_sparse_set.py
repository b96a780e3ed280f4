"""A set far larger than memory: 50 GB, of which almost all is a hole, read with 2 GB of address space."""

import dataclasses
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from shardwright.base.errors import LimitError, StorageError
from shardwright.base.split.index import map_index
from shardwright.base.split.manifest import load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.training.loader import ThreadedLoader
from tests.conformance.children import in_child
from tests.conformance.tools import Store, numbered, same_as_numbered
from tests.forged import signed

SIZE, COUNT = 50 * 10**9, 6
ROOM = 2 * 10**9


def stretch(split: Path) -> None:
    """Let the last sample lie at the end of a file of 50 GB."""
    paths = SplitPaths(split, "train")
    manifest = load_manifest(paths)
    records = np.array(map_index(paths.index, manifest))
    files = list(manifest.shards[-1].files)
    number = manifest.field_files["image"]
    start, length = int(records["image_offset"][-1]), int(records["image_length"][-1])
    path = paths.data / files[number].name
    with path.open("r+b") as file:
        file.seek(start)
        value = file.read(length)
        file.seek(SIZE - length)
        file.write(value)
    records["image_offset"][-1] = SIZE - length
    header = paths.index.stat().st_size - records.nbytes
    paths.index.write_bytes(paths.index.read_bytes()[:header] + records.tobytes())
    files[number] = dataclasses.replace(files[number], size=SIZE)  # its hash would take minutes, and none asks for it
    shards = (*manifest.shards[:-1], dataclasses.replace(manifest.shards[-1], files=tuple(files)))
    forged = dataclasses.replace(manifest, shards=shards, index=signed(paths.index))
    paths.manifest.write_bytes(forged.to_bytes())


def limit() -> None:
    """Leave the process 2 GB more of address space than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit on memory is set as on Linux")
def test_50_gigabytes_are_read_in_two(store: Store, tmp_path: Path):
    """Fault 129: by number, as columns, by worker processes and by threads; only a map of it all does not fit."""
    split = store.convert(numbered(COUNT), tmp_path / "out", images_per_file=3)
    stretch(split)
    assert sum(path.stat().st_size for path in (split / "data").iterdir()) > SIZE

    def read() -> str:
        limit()
        reader = store.open(split, check=True)
        assert same_as_numbered(list(reader), range(COUNT))
        assert reader.read_columns([COUNT - 1])["label"].tolist() == [COUNT - 1]
        by_workers = DataLoader(reader, 2, num_workers=2, collate_fn=list)
        assert same_as_numbered([sample for batch in by_workers for sample in batch], range(COUNT))
        tensors = ThreadedLoader(store.open(split, output="tensor"), batch_size=2, num_threads=2)
        assert [label for batch in tensors for label in batch[1].tolist()] == list(range(COUNT))
        try:
            store.open(split, mmap=True)[COUNT - 1]
        except (LimitError, StorageError) as error:
            return str(error)
        return "mapped"

    assert ("leave mmap=True out" in in_child(read)) == store.fixed  # encoded images are never read from a map
