"""The opened split and its views: what is known without reading, what is complete, what is let go."""

import gc
import inspect
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.fields import Field
from shardwright.base.images.probe import IMAGE_EXTENSIONS
from shardwright.base.reader import Reader, open_reader
from shardwright.base.split.manifest import Manifest, Shard
from shardwright.base.storage.atomic import StoredFile
from shardwright.base.views import Concat, Selection, View, as_view
from shardwright.memmap.converter import MemmapConverter
from shardwright.memmap.reader import MemmapReader
from shardwright.tar.suffixes import fields_of
from shardwright.training.loader import ThreadedLoader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    samples = [(np.full((4, 5, 3), n, np.uint8), n) for n in range(7)]
    MemmapConverter(samples, tmp_path / "d", images_per_file=2, num_workers=0, shape=None).convert()
    return tmp_path / "d"


class Counting(tuple[Shard, ...]):
    """Shards that count how often somebody goes through them."""

    __slots__ = ()
    walks = 0

    def __iter__(self) -> Any:
        type(self).walks += 1
        return super().__iter__()


def test_the_length_of_ten_thousand_shards_is_added_up_once(path: Path) -> None:
    reader = open_reader(path)
    file = StoredFile("a", 1, "0" * 16)
    values = {f: getattr(reader.manifest, f) for f in Manifest.__dataclass_fields__ if f != "num_samples"}
    many = Manifest(**values | {"shards": Counting([Shard(3, (file,))] * 10_000)})
    reader.stored.manifest = many
    Counting.walks = 0
    assert [len(reader) for _ in range(50)] == [30_000] * 50
    assert Counting.walks == 0


@pytest.mark.parametrize("kind", [Reader, Selection, Concat])
def test_every_view_has_all_that_a_view_has(kind: type) -> None:
    declared = View.__abstractmethods__
    assert len(declared) >= 15
    missing = {name for name in declared if getattr(kind, name, None) is getattr(View, name)}
    assert missing == set()
    left = {"_locate"} if kind is Reader else set()  # the format's one
    assert set(inspect.getattr_static(kind, "__abstractmethods__", ())) <= left


def test_a_half_written_view_fails_when_it_is_made() -> None:
    class Half(View):
        def __len__(self) -> int:
            return 0

    with pytest.raises(TypeError, match=r"abstract.*read_columns"):
        Half()  # type: ignore[abstract]


def test_a_view_of_a_view_knows_the_reader_and_the_number(path: Path) -> None:
    reader = MemmapReader(path, output="numpy")
    view = reader.concat(reader.select([5, 3]), reader).select(slice(6, 10))
    found = [view.locate(n) for n in range(4)]
    assert [number for _, number in found] == [6, 5, 3, 0]
    assert all(whole is reader for whole, _ in found)
    assert [sample[1] for sample in view] == [6, 5, 3, 0]
    assert view.is_plain
    assert view.where.count(str(path)) == 3
    assert not MemmapReader(path, transform=str).select([1]).is_plain


def test_only_views_and_subsets_of_them_are_views(path: Path) -> None:
    from torch.utils.data import Subset

    reader = MemmapReader(path)
    chosen = as_view(Subset(Subset(reader, [4, 2, 0]), [1]))
    assert isinstance(chosen, Selection)
    assert (chosen.dataset, chosen.indices.tolist()) == (reader, [2])
    assert as_view(Subset([1, 2], [0])) is None
    assert as_view([reader]) is None


def test_a_selection_keeps_its_own_numbers(path: Path) -> None:
    numbers = np.array([1, 2])
    chosen = MemmapReader(path).select(numbers)
    numbers[:] = 6
    assert chosen.indices.tolist() == [1, 2]


def test_a_reader_that_is_let_go_closes_its_files_at_once(path: Path) -> None:
    """Without the collector: no circle of objects holds them."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")

    def opened() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(link.is_symlink() and str(path) in os.readlink(link) for link in links)

    gc.collect()
    gc.disable()
    try:
        reader = MemmapReader(path, mmap=True)
        both = reader.concat(reader.select([0]))
        assert len([*both]) == 8
        assert opened() >= 4
        del reader, both
        assert opened() == 0
    finally:
        gc.enable()


def test_nothing_that_was_looked_up_is_pickled(path: Path) -> None:
    reader = MemmapReader(path)
    fresh = len(pickle.dumps(reader))
    assert [sample[1] for sample in reader] == list(range(7))
    assert len(pickle.dumps(reader)) == fresh
    assert pickle.loads(pickle.dumps(reader))[6][1] == 6


def test_values_of_other_columns_are_read_without_another_reader(path: Path) -> None:
    labels = MemmapReader(path, columns=["label"], output="numpy")
    values = labels.read_values([1, -1], ["image", "label"])
    assert [int(image.mean()) for image in values["image"]] == [1, 6] == values["label"]
    assert [f.name for f in labels.fields] == ["label"]


def test_there_is_one_list_of_image_names() -> None:
    assert {"jp2", "pnm", "jpeg", "webp"} <= set(IMAGE_EXTENSIONS)
    assert len(set(IMAGE_EXTENSIONS)) == len(IMAGE_EXTENSIONS)
    for extension in IMAGE_EXTENSIONS:
        assert fields_of({extension: np.arange(1)}, 1, {}) == {"image": ("image", [extension])}


def test_a_loader_asks_a_reader_that_decodes_by_itself(path: Path) -> None:
    class Darker(MemmapReader):
        def _restored(self, field: Field, column: Any) -> Any:
            values = super()._restored(field, column)
            return [-value for value in values] if field.name == "label" else values

    for dataset in (Darker(path, output="numpy"), Darker(path, output="numpy").select([0, 1, 2])):
        assert dataset.decoding is None
        _, labels = next(iter(ThreadedLoader(dataset, 3, num_threads=0)))
        assert labels.tolist() == [0, -1, -2]
