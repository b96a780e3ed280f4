"""Some samples of a split, several splits as one, and splits merged on disk."""

import errno
import os
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split

from shardwright.base.errors import ConfigError, OutputExistsError, StorageError
from shardwright.base.fields import Field
from shardwright.base.formats import format_names, get_format
from shardwright.base.merge import merge
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.base.split.split import Split
from shardwright.base.verify import verify
from shardwright.base.view_source import ViewSource
from shardwright.base.views import concat
from shardwright.parquet.reader import ParquetReader
from shardwright.training.loader import ThreadedLoader
from tests.conformance.tools import picture

NAMES = tuple(f"class{n}" for n in range(12))


def samples(start, stop):
    """Numbered pictures with a weight that grows with the number."""
    return [{"image": picture(n, size=(5, 6)), "label": n, "weight": n / 2} for n in range(start, stop)]


def convert(data, path, name, **options):
    converter = get_format(name).load_converter()
    fixed = {"shape": None} if converter.fixed_size else {}
    fields = [Field("label", "class_label", names=options.pop("names", NAMES))]
    small = {"num_workers": 0, "images_per_file": 3, "progress": False, "fields": fields}
    converter(data, path, **small, **fixed, **options).convert()
    return path


@pytest.fixture(scope="module", params=format_names())
def format_name(request):
    return request.param


@pytest.fixture(scope="module")
def readers(format_name, tmp_path_factory):
    """Samples 0 to 6, and samples 7 to 11."""
    root = tmp_path_factory.mktemp(format_name)
    parts = [convert(samples(*ends), root / str(ends[0]), format_name) for ends in ((0, 7), (7, 12))]
    return [open_reader(path, output="numpy") for path in parts]


@pytest.fixture(scope="module")
def reader(readers):
    return readers[0]


def numbers(dataset):
    """The numbers of the samples, whose pixels must be those of these numbers."""
    found = dataset.__getitems__(range(len(dataset)))
    assert all(np.array_equal(s["image"], np.asarray(picture(s["label"], size=(5, 6)))) for s in found)
    return [s["label"] for s in found]


def count_reads(monkeypatch):
    """Count the batches that readers read from now on."""
    calls = []
    read = Split.read_columns
    monkeypatch.setattr(Split, "read_columns", lambda self, *a: calls.append(len(a[1])) or read(self, *a))
    return calls


# --- select -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        ([3, 0, -1, 3], [3, 0, 6, 3]),
        (range(2, 5), [2, 3, 4]),
        (slice(None, None, 3), [0, 3, 6]),
        (np.array([False, True, False, False, True, False, False]), [1, 4]),
        ([], []),
        (lambda s: s["weight"] > 2 and s["label"] != 5, [6]),
        (np.arange(3, dtype=np.uint8), [0, 1, 2]),
    ],
    ids=["numbers", "range", "slice", "bools", "nothing", "callable", "uint8"],
)
def test_what_select_takes(reader, which, wanted):
    chosen = reader.select(which)
    assert len(chosen) == len(wanted)
    assert numbers(chosen) == wanted
    assert chosen.targets.tolist() == wanted
    assert [s["label"] for s in chosen] == wanted


def test_a_predicate_on_numbers_reads_no_sample(reader, monkeypatch):
    calls = count_reads(monkeypatch)
    assert len(reader.select(lambda s: s["label"] % 2 == 1)) == 3
    assert calls == []


def test_a_predicate_may_ask_for_columns(reader, monkeypatch):
    calls = count_reads(monkeypatch)
    bright = [n for n in range(7) if np.asarray(picture(n, size=(5, 6))).mean() > 128]
    chosen = reader.select(lambda s: s["image"].mean() > 128, columns=["image"])
    assert calls == [7]
    assert numbers(chosen) == bright


def test_a_predicates_columns_need_not_be_those_that_samples_have(reader):
    labels = open_reader(reader.dataset_path, columns=["label"], output="numpy")
    chosen = labels.select(lambda s: s["label"] > 2)
    assert [s["label"] for s in chosen] == [3, 4, 5, 6]
    assert labels.read_values([2], ["image"])["image"][0].shape == (5, 6, 3)


def test_select_refuses_what_it_does_not_understand(reader):
    with pytest.raises(ConfigError, match=r"one value per sample: 7, not \(3,\)"):
        reader.select(np.array([True, False, True]))
    with pytest.raises(IndexError, match="index 7 is out of range for a split of 7 samples"):
        reader.select([7])
    with pytest.raises(TypeError, match="whole numbers"):
        reader.select([0.5])
    with pytest.raises(ConfigError, match=r"there is no 'caption'; choose from image, label, weight"):
        reader.select(lambda s: True, columns=["caption"])
    with pytest.raises(ConfigError, match=r"columns=.* are read for a callable"):
        reader.select([1], columns=["image"])


def test_indices_of_a_selection(reader):
    chosen = reader.select([5, 2, 4])
    assert chosen[np.int64(-1)]["label"] == 4
    assert chosen[torch.tensor(1).item()]["label"] == 2
    for bad in (3, -4):
        with pytest.raises(IndexError, match="of 3 samples"):
            chosen[bad]
    assert [s["label"] for s in chosen.__getitems__([-1, 0, 0])] == [4, 5, 5]


def test_a_selection_of_a_selection_is_one(reader):
    chosen = reader.select([5, 2, 4]).select([2, 0])
    assert chosen.dataset is reader
    assert numbers(chosen) == [4, 5]
    assert chosen.classes == list(NAMES)
    assert chosen.class_to_idx["class3"] == 3


def test_a_selection_pickles_as_one_array(reader):
    whole, part = (len(pickle.dumps(x)) for x in (reader, reader.select(np.zeros(10_000, np.int64))))
    assert part - whole < 8 * 10_000 + 500
    assert numbers(pickle.loads(pickle.dumps(reader.select([6, 1])))) == [6, 1]


@pytest.mark.parametrize("wrap", [lambda r: r.select([6, 0, 3, 3]), lambda r: Subset(r.select(range(7)), [6, 0, 3, 3])])
def test_loaders_read_a_selection_in_batches(reader, monkeypatch, wrap):
    calls = count_reads(monkeypatch)
    batches = list(DataLoader(wrap(reader), batch_size=4))
    assert batches[0]["label"].tolist() == [6, 0, 3, 3]
    assert calls == [4]
    if reader.fields[0].is_fixed:
        batches = list(ThreadedLoader(wrap(reader), batch_size=4, num_threads=0))
        assert batches[0]["label"].tolist() == [6, 0, 3, 3]
        assert calls == [4, 4]


def test_random_split_reads_in_batches(reader, monkeypatch):
    parts = random_split(reader.select(range(6)), [4, 2])
    calls = count_reads(monkeypatch)
    found = [b["label"].tolist() for part in parts for b in DataLoader(part, batch_size=4)]
    assert sorted(label for labels in found for label in labels) == list(range(6))
    assert calls == [4, 2]


def test_a_loader_of_processes_takes_a_selection(reader):
    loader = DataLoader(reader.select([6, 0, 3, 3]), batch_size=2, num_workers=2)
    assert [b["label"].tolist() for b in loader] == [[6, 0], [3, 3]]


# --- concat -------------------------------------------------------------------------------


def test_concat_gives_all_samples_in_order(readers):
    both = concat(readers)
    assert len(both) == 12
    assert numbers(both) == list(range(12))
    assert both.targets.tolist() == list(range(12))
    assert both.classes == list(NAMES)
    assert both[-1]["label"] == 11
    assert [s["label"] for s in both.__getitems__([11, 0, -5, 6, 0])] == [11, 0, 7, 6, 0]
    assert numbers(readers[0].concat(readers[1], readers[0])) == [*range(12), *range(7)]
    with pytest.raises(IndexError, match="of 12 samples"):
        both[12]


def test_concat_reads_each_reader_once_per_batch(readers, monkeypatch):
    calls = count_reads(monkeypatch)
    found = [b["label"].tolist() for b in DataLoader(concat(readers), batch_size=6)]
    assert found == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert calls == [6, 1, 5]
    calls.clear()
    next(iter(DataLoader(ConcatDataset(readers), batch_size=6)))
    assert calls == [1] * 6  # why there is a concat of our own


def test_concat_takes_selections_and_other_formats(readers, tmp_path):
    other = open_reader(convert(samples(3, 5), tmp_path / "other", "tar"), output="numpy")
    mixed = concat([readers[1].select([4, 0]), concat(readers[:1]), other])
    assert numbers(mixed) == [11, 7, *range(7), 3, 4]
    assert numbers(mixed.select(lambda s: s["weight"] > 3)) == [11, 7]
    assert numbers(mixed.select(lambda s: s["image"].mean() > 0, columns=["image"])) == [11, 7, *range(7), 3, 4]
    out = convert(mixed, tmp_path / "mixed", "pyarrow_ipc")
    assert numbers(open_reader(out, output="numpy")) == [11, 7, *range(7), 3, 4]
    if readers[0].fields[0].is_fixed:
        with pytest.raises(ConfigError, match="store their fields differently"):
            mixed.read_columns([0])


def test_stored_columns_of_concat(readers):
    both = concat(readers)
    stored = both.read_columns([10, 2])
    assert stored["weight"].tolist() == [5.0, 1.0]
    single = [readers[1].read_columns([3])["image"][0], readers[0].read_columns([2])["image"][0]]
    assert [bytes(value) for value in stored["image"]] == [bytes(value) for value in single]
    if both.fields[0].is_fixed:
        out = {"image": np.zeros((2, 5, 6, 3), np.uint8)}
        assert both.read_columns([10, 2], out)["image"] is out["image"]
        assert np.array_equal(out["image"][0], np.asarray(picture(10, size=(5, 6))))


def test_concat_refuses_other_classes(readers, tmp_path):
    other = open_reader(convert(samples(0, 2), tmp_path / "o", "tar", names=("a", "b")))
    with pytest.raises(ConfigError, match=r"12 \(class0, .*\) and 2 \(a, b\); the same number"):
        concat([readers[0], other])
    with pytest.raises(ConfigError, match="at least one"):
        concat([])


# --- as input of a conversion -------------------------------------------------------------


def test_chosen_samples_are_converted_without_encoding_them_again(tmp_path):
    data = [{"image": picture(n), "label": n} for n in range(6)]
    jpegs = open_reader(convert(data, tmp_path / "jpegs", "parquet", encoding="jpeg"), output="bytes")
    stored = [s["image"] for s in jpegs]
    views = {
        "selection": (jpegs.select([4, 1]), [4, 1]),
        "subset": (Subset(jpegs, [2, -1]), [2, 5]),
        "nested": (Subset(jpegs.select([4, 1]), [1]), [1]),
        "joined": (concat([jpegs.select([3]), jpegs]), [3, *range(6)]),
    }
    for name, (view, wanted) in views.items():
        source = open_source(view)
        assert isinstance(source, ViewSource)
        assert source.name(0).endswith(f"jpegs (split 'train'), sample {wanted[0]}")
        out = open_reader(convert(view, tmp_path / name, "tar"), output="bytes")
        assert [s["label"] for s in out] == wanted
        assert [s["image"] for s in out] == [stored[n] for n in wanted]
        assert stored[0][:2] == b"\xff\xd8"


def test_other_choices_are_another_input(reader):
    contents = [open_source(reader.select(which)).content() for which in ([0, 1], [1, 0], [0])]
    assert len({str(content) for content in contents}) == 3
    assert open_source(reader.select([0, 1])).content() == contents[0]


def test_a_reader_that_changes_samples_is_taken_as_it_is(tmp_path):
    path = convert(samples(0, 3), tmp_path / "a", "parquet")
    assert isinstance(open_source(open_reader(path)), ViewSource)
    changed = open_reader(path, transform=lambda image: image.convert("L"))
    assert not isinstance(open_source(changed), ViewSource)
    assert not isinstance(open_source(changed.select([1])), ViewSource)
    assert open_source(changed.select([1]))[0]["image"].mode == "L"


class HeavierReader(ParquetReader):
    """Changes samples in a class of its own, in the way of many scripts."""

    def __getitem__(self, index):
        return super().__getitem__(index) | {"weight": 99.0}


class HeavierSubset(Subset):
    def __getitem__(self, index):
        return super().__getitem__(index) | {"weight": 99.0}

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class OnlyTwo(ParquetReader):
    def __len__(self):
        return 2


def test_a_class_that_changes_samples_is_taken_as_it_is(tmp_path):
    path = convert(samples(0, 3), tmp_path / "a", "parquet")
    views = [HeavierReader(path), HeavierSubset(open_reader(path), [2, 0]), Subset(HeavierReader(path), [2, 0])]
    for number, view in enumerate(views):
        out = open_reader(convert(view, tmp_path / str(number), "tar"))
        assert [sample["weight"] for sample in out] == [99.0] * len(view)
    assert len(open_source(OnlyTwo(path))) == 2


# --- merge --------------------------------------------------------------------------------


def test_merge_links_and_copies_nothing(readers, format_name, tmp_path):
    old = [path for r in readers for path in sorted((r.dataset_path / "data").iterdir())]
    manifest = merge(readers, tmp_path / "both", split="all")
    new = sorted((tmp_path / "both" / "data").iterdir())
    assert {p.stat().st_ino for p in new} == {p.stat().st_ino for p in old}
    assert manifest.num_samples == 12
    assert numbers(open_reader(tmp_path / "both", split="all", output="numpy")) == list(range(12))
    assert verify(tmp_path / "both").ok
    assert {p.name.split("-")[0] for p in new} == {"all"}


def test_a_merged_split_does_not_need_the_old_ones(format_name, tmp_path):
    parts = [convert(samples(n, n + 2), tmp_path / str(n), format_name) for n in (0, 2)]
    merge([open_reader(path) for path in parts], tmp_path / "both")
    for path in parts:
        for file in sorted(path.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
    assert numbers(open_reader(tmp_path / "both", output="numpy")) == [0, 1, 2, 3]


def test_merge_into_the_same_folder(tmp_path):
    for split, ends in (("train", (0, 4)), ("val", (4, 7))):
        convert(samples(*ends), tmp_path / "a", "tar", split=split)
    merge([open_reader(tmp_path / "a", split=s) for s in ("val", "train")], tmp_path / "a", split="trainval")
    assert numbers(open_reader(tmp_path / "a", split="trainval", output="numpy")) == [4, 5, 6, 0, 1, 2, 3]
    assert numbers(open_reader(tmp_path / "a", split="val", output="numpy")) == [4, 5, 6]
    assert verify(tmp_path / "a").ok


def test_merging_again_after_a_kill(tmp_path, monkeypatch):
    parts = [open_reader(convert(samples(n, n + 4), tmp_path / str(n), "parquet")) for n in (0, 4)]
    with monkeypatch.context() as patch:
        patch.setattr("shardwright.base.merge.publish", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            merge(parts, tmp_path / "both")
    merge(parts, tmp_path / "both")
    assert verify(tmp_path / "both").ok
    with pytest.raises(OutputExistsError, match=r"train\.json is there"):
        merge(parts, tmp_path / "both")


def no_links(monkeypatch):
    def link(old, new):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", link)


def test_other_disks_need_a_copy(tmp_path, monkeypatch):
    part = open_reader(convert(samples(0, 4), tmp_path / "a", "memmap"), output="numpy")
    no_links(monkeypatch)
    with pytest.raises(StorageError, match=r"cannot get the second name .* copy=True"):
        merge([part], tmp_path / "b")
    merge([part], tmp_path / "b", copy=True)
    assert numbers(open_reader(tmp_path / "b", output="numpy")) == [0, 1, 2, 3]
    assert verify(tmp_path / "b").ok


def test_splits_that_cannot_be_one_are_refused(tmp_path):
    parquet = open_reader(convert(samples(0, 3), tmp_path / "p", "parquet"))
    tar = open_reader(convert(samples(0, 3), tmp_path / "t", "tar"))
    less = [{k: s[k] for k in ("image", "label")} for s in samples(0, 3)]
    fewer = open_reader(convert(less, tmp_path / "f", "parquet"))
    with pytest.raises(ConfigError, match="format is parquet and tar"):
        merge([parquet, tar], tmp_path / "out")
    with pytest.raises(ConfigError, match="fields is"):
        merge([parquet, fewer], tmp_path / "out")
    with pytest.raises(ConfigError, match="Selection is not a whole split"):
        merge([parquet.select([0])], tmp_path / "out")
    with pytest.raises(ConfigError, match="at least one"):
        merge([], tmp_path / "out")
    with pytest.raises(ConfigError, match="letters"):
        merge([parquet], tmp_path / "out", split="a/b")
    assert not (tmp_path / "out").exists()


def test_merged_modes_are_those_of_all(tmp_path):
    gray, colour = ([{"image": picture(n, mode), "label": n} for n in range(2)] for mode in ("L", "RGB"))
    parts = [open_reader(convert(data, tmp_path / str(n), "tar")) for n, data in enumerate((gray, colour))]
    merge(parts, tmp_path / "both")
    assert {s["image"].mode for s in open_reader(tmp_path / "both")} == {"RGB"}
