"""TFRecord files as sources, against files that TensorFlow and TFDS wrote."""

import gzip
import importlib.util
import io
import json
import os
import pickle
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError, InputError, LimitError
from shardwright.base.formats import get_format
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.tfrecord import example as tfrecord_example
from shardwright.tfrecord import frames as tfrecord_frames
from shardwright.tfrecord.files import is_record_name

pytest.importorskip("google.protobuf", reason="needs the extra 'tfrecord'")
crc32c = pytest.importorskip("google_crc32c", reason="needs the extra 'tfrecord'")

from shardwright.tfrecord.source import TFRecordSource, read_examples  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data/tfrecord"
TFDS = DATA / "tfds/tiny/1.0.0"
_spec = importlib.util.spec_from_file_location("make_tfrecords", DATA / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.fixture
def shards(tmp_path):
    """A folder with the two shards of split train."""
    for number in (0, 1):
        shutil.copy(DATA / f"train-0000{number}-of-00002", tmp_path)
    return tmp_path


def masked(data):
    crc = crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def pixels_of(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded.data)))


def as_lists(example):
    return {k: v if isinstance(v, list) else v.tolist() for k, v in example.items()}


# --- what TensorFlow wrote ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shards", "records.tfrecord.gz"])
def test_every_feature_is_read_exactly(request, name):
    path = request.getfixturevalue("shards") if name == "shards" else DATA / name
    examples = list(read_examples(path))
    assert len(examples) == 5
    for number, example in enumerate(examples):
        encoded = example.pop("image/encoded")
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded[0]))), make.pixels(number))
        wanted = make.expected(number)
        assert list(example) == sorted(wanted)
        floats = example.pop("odd/float")
        assert floats.tobytes() == np.array(wanted.pop("odd/float"), np.float32).tobytes()
        assert as_lists(example) == wanted


@pytest.mark.parametrize("name", ["shards", "records.tfrecord.gz"])
def test_images_keep_their_bytes_and_labels_lose_their_offset(request, name):
    path = request.getfixturevalue("shards") if name == "shards" else DATA / name
    source = TFRecordSource(path, label_offset=1)
    raw = [example["image/encoded"][0] for example in read_examples(path)]
    assert source.sample_type == "tuple"
    for i in (4, 0, 3, 1, 2):
        sample = source[i]
        assert list(sample) == ["image", "label"]
        assert sample["image"].data == raw[i]
        assert sample["image"].name == f"photo {i}.png"
        assert sample["label"] == i % 3
    assert source.ignored["feature odd/long"] == 5
    assert "feature image/encoded" not in source.ignored


def test_the_label_offset_is_asked_for_and_never_guessed(shards):
    with pytest.raises(ConfigError, match=r"run from 1 to 3, 0 does not occur: say label_offset=1.*or label_offset=0"):
        open_source(shards)
    assert [TFRecordSource(shards, label_offset=0)[i]["label"] for i in range(3)] == [1, 2, 3]
    for wrong in (2, 1.0, True):
        with pytest.raises(ConfigError, match=r"must be a whole number of at most 1"):
            TFRecordSource(shards, label_offset=wrong)
    with pytest.raises(ConfigError, match="there is none"):
        TFRecordSource(shards, features={"image": "image/encoded"}, label_offset=1)


def test_class_names(shards):
    named = TFRecordSource(shards, label_offset=1, classes=["a", "b", "c"])
    assert named.fields["label"].names == ("a", "b", "c")
    with pytest.raises(InputError, match=r"label 3 of feature 'image/class/label' has no name"):
        TFRecordSource(shards, label_offset=0, classes=["a", "b", "c"])


def test_features_can_be_chosen(shards):
    chosen = {"long": "odd/long", "word": "image/class/text", "f": "odd/float", "i": "odd/int", "names": "odd/long"}
    source = TFRecordSource(shards, features=chosen)
    assert source.sample_type == "dict"
    assert source[1]["long"].tolist() == list(range(1000))
    assert source[0]["long"].tolist() == []
    assert source[0]["long"].dtype == np.int64
    assert source[4]["word"] == "class 1"
    assert source[4]["i"].tolist() == [-(2**63), 2**63 - 1, 4]
    assert source.fields["i"].shape == (3,)
    assert source.fields["long"].shape is None
    with pytest.raises(ConfigError, match=r"names \['nothing'\]; the records have \['image/class/label'"):
        TFRecordSource(shards, features={"a": "nothing"})
    with pytest.raises(ConfigError, match="is empty in all records"):
        TFRecordSource(shards, features={"a": "odd/empty"})
    with pytest.raises(InputError, match="3 to 3 byte strings"):
        TFRecordSource(shards, features={"a": "odd/names"})


# --- damage -----------------------------------------------------------------------------------


def test_every_single_byte_corruption_names_file_and_record(tmp_path):
    """FAULTS 99: every byte of a TFRecord file is covered by one of the two checksums."""
    whole = (DATA / "train-00001-of-00002").read_bytes()
    first = 12 + struct.unpack("<Q", whole[:8])[0] + 4
    path = tmp_path / "a.tfrecord"
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            TFRecordSource(path, label_offset=0)
        assert f"a.tfrecord, record {int(place >= first)}" in str(caught.value)


def test_every_corruption_of_the_compressed_data_names_file_and_record(tmp_path):
    whole = (DATA / "records.tfrecord.gz").read_bytes()
    path = tmp_path / "a.tfrecord.gz"
    for place in range(10, len(whole)):  # the ten bytes before hold times and names, and no data
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.tfrecord\.gz, record \d"):
            TFRecordSource(path, label_offset=0)


@pytest.mark.parametrize("name", ["train-00001-of-00002", "records.tfrecord.gz"])
def test_every_cut_names_file_and_record(tmp_path, name):
    """FAULTS 100; a plain file may end after any record, as TFRecord has no count."""
    whole = (DATA / name).read_bytes()
    first = 12 + struct.unpack("<Q", whole[:8])[0] + 4 if "gz" not in name else 200
    for size in sorted({*range(13, len(whole), 11), first, first - 1, first + 1, len(whole) - 1}):
        (tmp_path / name).write_bytes(whole[:size])
        if size == first and "gz" not in name:
            assert len(TFRecordSource(tmp_path / name, label_offset=0)) == 1
            continue
        with pytest.raises(InputError, match=rf"{name}, record \d"):
            TFRecordSource(tmp_path / name, label_offset=0)


def test_damage_after_the_first_look_is_found_too(shards):
    source = TFRecordSource(shards, label_offset=0)
    path = shards / "train-00000-of-00002"
    status = path.stat()
    damaged = bytearray(path.read_bytes())
    damaged[40] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="has changed"):
        source[0]
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match=r"record 0: the CRC-32C of the data differs"):
        source[0]


def test_records_of_another_kind_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"sequence\.tfrecord, record 0 is no tf\.train\.Example but another message"):
        TFRecordSource(DATA / "sequence.tfrecord")
    (tmp_path / "a.tfrecord").write_bytes(frame(b"\xff\xff\xff"))
    with pytest.raises(InputError, match=r"record 0 is no tf\.train\.Example"):
        TFRecordSource(tmp_path / "a.tfrecord")
    length = struct.pack("<Q", 2**40)
    (tmp_path / "a.tfrecord").write_bytes(length + struct.pack("<I", masked(length)) + bytes(100))
    with pytest.raises(LimitError, match="has 1099511627776 bytes"):
        TFRecordSource(tmp_path / "a.tfrecord")
    (tmp_path / "a.tfrecord").write_bytes(b"no record at all")
    with pytest.raises(InputError, match="damaged, or no TFRecord file"):
        open_source(tmp_path / "a.tfrecord")


def test_a_record_that_looks_like_gzip_is_still_a_record(tmp_path):
    data = b"\x0a" + bytes([0xFF]) * 4  # not parsed: only how the file begins matters here
    body = data + bytes(0x088B1F - len(data))
    (tmp_path / "a.tfrecord").write_bytes(frame(body))
    assert (tmp_path / "a.tfrecord").read_bytes()[:3] == b"\x1f\x8b\x08"
    with pytest.raises(InputError, match=r"record 0 is no tf\.train\.Example"):
        TFRecordSource(tmp_path / "a.tfrecord")


# --- files and folders ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a.tfrecord", True),
        ("a.tfrecords", True),
        ("a.tfrecord.gz", True),
        ("mnist-train.tfrecord-00000-of-00001", True),
        ("train-00000-of-01024", True),
        ("train-00000-of-01024.gz", True),
        ("train-00000-of-00001.parquet", False),
        ("a.array_record-00000-of-00001", False),
        ("image.jpg", False),
        ("tfrecord", False),
    ],
)
def test_names_of_record_files(name, is_one):
    assert is_record_name(f"/some/where/{name}") is is_one


def test_missing_shards_are_named(shards):
    (shards / "train-00000-of-00002").unlink()
    with pytest.raises(InputError, match=r"train has 1 of 2 files, the first missing is number 00000"):
        open_source(shards)


def test_splits_are_chosen_not_mixed(shards):
    shutil.copy(DATA / "train-00000-of-00002", shards / "validation-00000-of-00001")
    with pytest.raises(ConfigError, match=r"several splits: choose one with .*'train', 'validation'"):
        open_source(shards)
    assert len(TFRecordSource(shards, split="validation", label_offset=1)) == 3
    assert len(TFRecordSource(shards, split="train", label_offset=1)) == 5
    with pytest.raises(ConfigError, match="no split 'test'"):
        TFRecordSource(shards, split="test")


def test_a_list_of_files_keeps_its_order(shards):
    files = [shards / "train-00001-of-00002", shards / "train-00000-of-00002"]
    source = TFRecordSource(files, label_offset=0)
    assert source.name(0) == f"{files[0]}, record 0"
    assert source.name(4) == f"{files[1]}, record 2"
    assert (pixels_of(source[0]["image"]) == make.pixels(3)).all()


def test_folders_without_records(tmp_path):
    (tmp_path / "notes.md").touch()
    with pytest.raises(InputError, match=r"looked for \*\.tfrecord"):
        TFRecordSource(tmp_path)


def test_a_source_travels_and_reads_in_a_worker_process(shards):
    source = TFRecordSource(shards, label_offset=1)
    again = pickle.loads(pickle.dumps(source))
    assert again[4] == source[4]
    assert again.state() == source.state()


def test_content_is_the_same_elsewhere(shards, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for file in shards.iterdir():
        shutil.copy(file, other)
    one, two = (TFRecordSource(folder, label_offset=1) for folder in (shards, other))
    assert one.content() == two.content()
    assert one.state() != two.state()
    assert one.content() != TFRecordSource(shards, label_offset=0).content()


# --- TFDS ---------------------------------------------------------------------------------------


def test_a_tfds_folder_gives_what_tfds_gives():
    source = TFRecordSource(TFDS, split="train")
    assert source.sample_type == "dict"
    assert source.fields["label"].names == ("cat", "dog")
    by_number = {sample["meta_a"]: sample for sample in map(source.__getitem__, range(5))}
    assert sorted(by_number) == list(range(5))  # TFDS shuffles
    for number, sample in by_number.items():
        assert list(sample) == ["image", "label", "grid", "meta_a", "meta_box", "name", "size", "steps", "weight"]
        assert (pixels_of(sample["image"]) == make.pixels(number)).all()
        assert (sample["label"], sample["name"], sample["size"]) == (number % 2, f"é{number}", number)
        np.testing.assert_array_equal(sample["weight"], np.arange(3, dtype=np.float32) + number)
        np.testing.assert_array_equal(sample["grid"], np.full((2, 2), number, np.uint8))
        assert sample["grid"].dtype == np.uint8
        assert sample["steps"].tolist() == list(range(number))
        assert sample["meta_box"].tolist() == [0.0, 0.25, 0.5, 1.0]


def test_a_tfds_folder_asks_for_the_split():
    with pytest.raises(ConfigError, match="'test', 'train'"):
        open_source(TFDS)
    assert len(TFRecordSource(TFDS, split="test")) == 2


def test_a_tfds_folder_is_held_against_its_own_counts(tmp_path):
    shutil.copytree(TFDS, tmp_path / "a")
    info = json.loads((tmp_path / "a/dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["6"]
    (tmp_path / "a/dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"has 5 records of 6 \(dataset_info\.json\)"):
        TFRecordSource(tmp_path / "a", split="train")
    (tmp_path / "a/features.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"features\.json cannot be read"):
        TFRecordSource(tmp_path / "a", split="train")
    (tmp_path / "a/features.json").write_text('{"featuresDict": 3}')
    with pytest.raises(InputError, match="is not what TFDS writes"):
        TFRecordSource(tmp_path / "a", split="train")


# --- conversion ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["parquet", "pyarrow_ipc", "tar"])
def test_records_go_into_every_flexible_format(tmp_path, name):
    for folder, source in (
        ("plain", TFRecordSource(DATA / "records.tfrecord.gz", label_offset=1)),
        ("tfds", TFRecordSource(TFDS, split="train")),
    ):
        out = tmp_path / folder
        get_format(name).load_converter()(source, out, 3, 2, 2, progress=False).convert()
        reader = open_reader(out, output="bytes")
        for i in range(5):
            sample, wanted = reader[i], source[i]
            values = sample if isinstance(sample, dict) else dict(zip(("image", "label"), sample, strict=True))
            assert values["image"] == wanted["image"].data
            assert values["label"] == wanted["label"]


@pytest.mark.parametrize("name", ["memmap", "hdf5"])
def test_records_go_into_every_fixed_format(tmp_path, name):
    source = TFRecordSource(DATA / "records.tfrecord.gz", label_offset=1)
    get_format(name).load_converter()(source, tmp_path, 3, 2, 0, shape=None, progress=False).convert()
    reader = open_reader(tmp_path, output="numpy")
    for i in range(5):
        np.testing.assert_array_equal(reader[i][0], make.pixels(i))


# --- libraries ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "cached"), [("google.protobuf", tfrecord_example._library), ("google_crc32c", tfrecord_frames._crc32c)]
)
def test_a_missing_library_is_told_with_the_line_that_installs_it(monkeypatch, missing, cached):
    """Fault 47."""
    for name in (missing, "crc32c"):
        monkeypatch.setitem(sys.modules, name, None)
    cached.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'shardwright\[tfrecord\]'"):
        open_source(DATA / "records.tfrecord.gz")


def test_tensorflow_reads_the_same(tmp_path):
    tf = pytest.importorskip("tensorflow", reason="needs the extra 'tf'")
    rng = np.random.default_rng(0)
    for name, kind in (("a.tfrecord", None), ("b.tfrecord.gz", "GZIP")):
        options = tf.io.TFRecordOptions(compression_type=kind or "")
        with tf.io.TFRecordWriter(str(tmp_path / name), options) as writer:
            for size in (0, 1, 1000):
                ints = tf.train.Int64List(value=rng.integers(-(2**63), 2**63 - 1, size))
                floats = tf.train.FloatList(value=rng.normal(size=size))
                raw = tf.train.BytesList(value=[rng.bytes(size)])
                features = {
                    "i": tf.train.Feature(int64_list=ints),
                    "f": tf.train.Feature(float_list=floats),
                    "b": tf.train.Feature(bytes_list=raw),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
        dataset = tf.data.TFRecordDataset(str(tmp_path / name), compression_type=kind or "")
        for theirs, ours in zip(dataset, read_examples(tmp_path / name), strict=True):
            feature = tf.train.Example.FromString(theirs.numpy()).features.feature
            assert ours["i"].tolist() == list(feature["i"].int64_list.value)
            assert ours["f"].tolist() == list(feature["f"].float_list.value)
            assert ours["b"] == list(feature["b"].bytes_list.value)


def test_tfds_reads_the_same():
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra 'tf'")
    builder = tfds.builder_from_directory(str(TFDS))
    source = TFRecordSource(TFDS, split="train")
    ours = {sample["meta_a"]: sample for sample in map(source.__getitem__, range(len(source)))}
    for theirs in tfds.as_numpy(builder.as_dataset(split="train")):
        sample = ours[int(theirs["meta"]["a"])]
        for name in ("grid", "steps", "weight", "label", "size"):
            np.testing.assert_array_equal(sample[name], theirs[name])
        np.testing.assert_array_equal(pixels_of(sample["image"]), theirs["image"])


def test_gzip_of_several_members(tmp_path):
    whole = gzip.decompress((DATA / "records.tfrecord.gz").read_bytes())
    (tmp_path / "a.tfrecord.gz").write_bytes(gzip.compress(whole[:1000]) + gzip.compress(whole[1000:]))
    source = TFRecordSource(tmp_path / "a.tfrecord.gz", label_offset=0)
    assert [source[i]["label"] for i in (4, 0, 2)] == [2, 1, 3]
