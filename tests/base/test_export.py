"""Splits as the files of other tools, opened by these tools."""

import hashlib
import io
import json
import os
import signal
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError, InputError, OutputExistsError
from shardwright.base.export import export
from shardwright.base.fields import Field
from shardwright.base.formats import export_targets
from shardwright.base.images import EncodedImage
from shardwright.base.reader import open_reader
from shardwright.base.source import Source
from shardwright.cli.main import main
from shardwright.cli.signals import Stopped
from shardwright.hdf5.converter import HDF5Converter
from shardwright.memmap.converter import MemmapConverter
from shardwright.parquet.converter import ParquetConverter
from shardwright.pyarrow_ipc.converter import IpcConverter
from shardwright.tfrecord.source import TFRecordSource, read_examples
from tests.conformance.tools import CLASSES, encoded, files_of, hashes, make_folder, picture

COUNT = 12
foreign = pytest.mark.filterwarnings("ignore")  # the habits of other libraries


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos`, a folder of images, and what was converted from it."""
    root = tmp_path_factory.mktemp("export")
    make_folder(root / "photos", COUNT)
    small: dict[str, Any] = {"num_workers": 0, "images_per_file": 5}
    ParquetConverter(root / "photos", root / "parquet", **small).convert()
    IpcConverter(root / "photos", root / "arrow", **small).convert()
    MemmapConverter(root / "photos", root / "memmap", shape=(8, 9), **small).convert()
    HDF5Converter(root / "photos", root / "hdf5", shape=(8, 9), **small).convert()
    ParquetConverter(Rich(), root / "rich", split="test", **small).convert()
    return root


class Rich(Source):
    """Samples with a field of every kind."""

    sample_type = "dict"

    def __init__(self) -> None:
        self.fields = {"label": Field("label", "class_label", names=("b", "a"))}

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "image": EncodedImage(encoded(picture(index), "JPEG")),
            "mask": np.full((10, 14), index, np.uint8),
            "label": index % 3 - 1,
            "dose": 0.5 * index,
            "count": 10**12 + index,
            "caption": f"über {index}",
            "about": {"slide": [index]},
            "raw": bytes([index, 255]),
            "spectrum": np.arange(4, dtype=np.float32) + index,
            "wide": np.full((2, 3), np.pi * index),
        }


@pytest.fixture
def photos(work: Path) -> list[tuple[Path, int]]:
    return files_of(work / "photos")


# Folder.


def test_a_folder_has_the_very_files(work: Path, photos: Any, tmp_path: Path) -> None:
    export(work / "parquet", tmp_path / "out", "folder")
    found = files_of(tmp_path / "out")
    assert [(path.read_bytes(), label) for path, label in found] == [(p.read_bytes(), label) for p, label in photos]
    assert [path.parent.name for path, _ in found] == [path.parent.name for path, _ in photos]
    assert found[0][0].name == "000000000.jpg"
    assert not list((tmp_path / "out").glob("*.*"))


def test_image_folder_opens_a_folder_of_raw_pixels(work: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    export(work / "memmap", tmp_path / "out", "folder")
    theirs, ours = ImageFolder(str(tmp_path / "out")), open_reader(work / "memmap", output="numpy")
    assert (theirs.classes, len(theirs)) == (list(CLASSES), COUNT)
    for (image, label), (pixels, wanted) in zip(theirs, ours, strict=True):
        assert label == wanted
        assert np.array_equal(np.asarray(image), pixels)


def test_a_folder_keeps_all_fields(work: Path, tmp_path: Path) -> None:
    export(work / "rich", tmp_path / "out", "folder", split="test")
    lines = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 7
    for index, line in enumerate(lines):
        wanted = Rich()[index]
        name = ["unlabelled", "b", "a"][index % 3]
        assert line["file_name"] == f"image/{name}/{index:09d}.jpg"
        assert (tmp_path / "out" / line["file_name"]).read_bytes() == wanted["image"].data
        mask = np.asarray(Image.open(tmp_path / "out" / line["mask_file_name"]))
        assert np.array_equal(mask, wanted["mask"])
        for key in ("label", "dose", "count", "caption", "about"):
            assert line[key] == wanted[key]
        assert (tmp_path / "out" / line["raw_path"]).read_bytes() == wanted["raw"]
        assert np.array_equal(np.load(tmp_path / "out" / line["wide_path"]), wanted["wide"])


def test_class_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    names = ("../../evil", "a/b", "a%2Fb", ".hidden", "", "ok 100%", "..")
    samples = [(picture(n), n) for n in range(len(names))]
    ParquetConverter(
        samples, tmp_path / "in", num_workers=0, fields=[Field("label", "class_label", names=names)]
    ).convert()
    export(tmp_path / "in", tmp_path / "deep" / "out", "folder")
    made = sorted(path.name for path in (tmp_path / "deep" / "out").iterdir() if path.is_dir())
    assert len(made) == len(names)
    assert "ok 100%" in made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "in"]
    assert sorted(os.listdir(tmp_path / "deep")) == ["out"]
    assert not any(name.startswith(".") for name in made)


# TFRecord.


def test_tfrecord_has_the_standard_keys(work: Path, photos: Any, tmp_path: Path) -> None:
    export(work / "parquet", tmp_path / "Birds 2", "tfrecord", images_per_file=5)
    names = [f"birds_2-train.tfrecord-{n:05d}-of-00003" for n in range(3)]
    assert sorted(path.name for path in (tmp_path / "Birds 2").iterdir()) == names
    records = list(read_examples(tmp_path / "Birds 2"))
    assert len(records) == COUNT
    for index, (record, (path, label)) in enumerate(zip(records, photos, strict=True)):
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert record["image/format"] == [str(image.format).encode()]
            assert (record["image/height"], record["image/width"]) == (image.height, image.width)
        assert record["image/encoded"] == [data]
        assert record["image/class/label"].tolist() == [label]
        assert record["image/class/text"] == [CLASSES[label].encode()]
        assert record["image/filename"][0].startswith(f"{index:09d}.".encode())
    source = TFRecordSource(tmp_path / "Birds 2")
    assert (source[3]["label"], source[3]["image"].data) == (photos[3][1], photos[3][0].read_bytes())


def test_tfrecord_keeps_all_fields(work: Path, tmp_path: Path) -> None:
    export(work / "rich", tmp_path / "out", "tfrecord", split="test")
    for index, record in enumerate(read_examples(tmp_path / "out")):
        wanted = Rich()[index]
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(record["mask/encoded"][0]))), wanted["mask"])
        assert record["dose"].tolist() == [wanted["dose"]]
        assert record["count"].tolist() == [wanted["count"]]
        assert record["caption"] == [wanted["caption"].encode()]
        assert json.loads(record["about"][0]) == wanted["about"]
        assert record["raw"] == [wanted["raw"]]
        assert np.array_equal(record["spectrum"], wanted["spectrum"])
        shape, dtype = record["wide/shape"].tolist(), record["wide/dtype"][0].decode()
        assert np.array_equal(np.frombuffer(record["wide"][0], dtype).reshape(shape), wanted["wide"])


def test_tfrecord_needs_its_libraries(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shardwright.tfrecord import example as tfrecord_example

    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    tfrecord_example._library.cache_clear()
    with pytest.raises(ConfigError, match=r"shardwright\[tfrecord\]"):
        export(work / "parquet", tmp_path / "out", "tfrecord")
    assert list(tmp_path.iterdir()) == []


@foreign
def test_tensorflow_opens_tfrecord(work: Path, photos: Any, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="needs the extra 'tf'")
    export(work / "parquet", tmp_path / "out", "tfrecord", images_per_file=5)
    spec = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
    }
    files = sorted(str(path) for path in (tmp_path / "out").iterdir())
    for record, (path, label) in zip(tf.data.TFRecordDataset(files), photos, strict=True):
        found = tf.io.parse_single_example(record, spec)
        assert found["image/encoded"].numpy() == path.read_bytes()
        assert int(found["image/class/label"]) == label
        if path.suffix == ".jpg":
            assert tf.io.decode_jpeg(found["image/encoded"]).shape[0] == int(found["image/height"])


# npz.


@pytest.mark.parametrize("name", ["memmap", "hdf5"])
def test_npz_is_what_keras_code_loads(name: str, work: Path, tmp_path: Path) -> None:
    export(work / name, tmp_path / "a.npz", "npz")
    reader = open_reader(work / name, output="numpy")
    with np.load(tmp_path / "a.npz") as arrays:  # without pickles, which is the default
        assert sorted(arrays) == ["classes", "x_train", "y_train"]
        assert (arrays["x_train"].shape, arrays["x_train"].dtype) == ((COUNT, 8, 9, 3), np.uint8)
        assert np.array_equal(arrays["x_train"], np.stack([image for image, _ in reader]))
        assert np.array_equal(arrays["y_train"], reader.targets)
        assert arrays["classes"].tolist() == list(CLASSES)


def test_npz_of_encoded_images_of_one_size_and_of_all_that_is_fixed(work: Path, tmp_path: Path) -> None:
    columns = ["image", "mask", "label", "dose", "spectrum", "wide"]
    export(work / "rich", tmp_path / "a.npz", "npz", split="test", columns=columns)
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["x_test"].shape == (7, 10, 14, 3)
        assert arrays["y_test"].tolist() == [n % 3 - 1 for n in range(7)]
        for key in ("mask", "dose", "spectrum", "wide"):
            assert np.array_equal(arrays[key], [Rich()[n][key] for n in range(7)])
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None


def test_npz_refuses_what_fits_no_array(work: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="convert to memmap"):
        export(work / "parquet", tmp_path / "a.npz", "npz")
    with pytest.raises(ConfigError, match="columns="):
        export(work / "rich", tmp_path / "a.npz", "npz", split="test")
    assert list(tmp_path.iterdir()) == []


# webdataset, and the formats themselves.


@foreign
def test_webdataset_streams_the_tar_files(work: Path, photos: Any, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    export(work / "arrow", tmp_path / "out", "webdataset", images_per_file=5)
    shards = sorted(str(path) for path in (tmp_path / "out" / "data").glob("*.tar"))
    assert len(shards) == 3
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    for sample, (path, label) in zip(samples, photos, strict=True):
        data = next(sample[key] for key in ("jpg", "png", "webp") if key in sample)
        assert (data, int(sample["cls"])) == (path.read_bytes(), label)
    assert open_reader(tmp_path / "out", output="bytes")[2] == (photos[2][0].read_bytes(), photos[2][1])


@foreign
def test_hugging_face_opens_an_exported_folder(work: Path, photos: Any, tmp_path: Path) -> None:
    pytest.importorskip("datasets.load", reason="Hugging Face's datasets is not installed")
    os.environ["HF_HUB_OFFLINE"] = "1"
    from datasets import load_dataset

    export(work / "parquet", tmp_path / "out", "folder")
    found = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert found.features["label"].names == list(CLASSES)
    assert sorted(found["label"]) == [label for _, label in photos]


@foreign
def test_hugging_face_reads_what_class_folders_do_not_say(work: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets.load", reason="Hugging Face's datasets is not installed")
    os.environ["HF_HUB_OFFLINE"] = "1"
    from datasets import load_dataset

    export(work / "rich", tmp_path / "out", "folder", split="test", columns=["image", "label", "dose"])
    found = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(zip(found["dose"], found["label"], strict=True)) == [(0.5 * n, n % 3 - 1) for n in range(7)]


def test_duckdb_opens_the_parquet_files(work: Path, photos: Any) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    rows = duckdb.sql(f"select image.bytes, label from '{work / 'parquet' / 'data' / '*.parquet'}'").fetchall()
    assert rows == [(path.read_bytes(), label) for path, label in photos]


def test_polars_opens_parquet_and_arrow_files(work: Path, photos: Any) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    wanted = [(path.read_bytes(), label) for path, label in photos]
    frame = polars.read_parquet(work / "parquet" / "data" / "*.parquet")
    assert [(row["image"]["bytes"], row["label"]) for row in frame.to_dicts()] == wanted
    frames = [polars.read_ipc(path) for path in sorted((work / "arrow" / "data").glob("*.arrow"))]
    assert [(row["image"]["bytes"], row["label"]) for row in polars.concat(frames).to_dicts()] == wanted


def test_numpy_and_h5py_open_the_fixed_formats(work: Path) -> None:
    files = sorted((work / "memmap" / "data").glob("*.image.npy"))
    pixels = np.concatenate([np.load(path, mmap_mode="r") for path in files])
    parts = []
    for path in sorted((work / "hdf5" / "data").glob("*.h5")):
        with h5py.File(path) as file:
            parts.append(file["image"][...])
    assert np.array_equal(np.concatenate(parts), pixels)
    assert len(pixels) == COUNT


# Outputs, whole or not at all.


@pytest.mark.parametrize("to", export_targets())
def test_an_output_that_exists_is_never_touched(to: str, work: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("out", "file", "link"):
        with pytest.raises(OutputExistsError, match="exists"):
            export(work / "memmap", tmp_path / name, to)
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "out"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("to", export_targets())
def test_a_failed_export_leaves_nothing_and_a_killed_one_is_cleared(to: str, work: Path, tmp_path: Path) -> None:
    class Failing(Rich):
        def __getitem__(self, index: int) -> dict[str, Any]:
            if index == 5:
                raise InputError("sample 5 is gone")
            return {"image": super().__getitem__(index)["image"]}

    with pytest.raises(InputError, match="sample 5 is gone"):
        export(Failing(), tmp_path / "out", to)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".out.tmp").mkdir()
    (tmp_path / ".out.tmp" / "left").write_text("by a killed run")
    export(work / "memmap", tmp_path / "out", to)
    assert sorted(os.listdir(tmp_path)) == ["out"]
    assert not (tmp_path / "out" / "left").exists()


@pytest.mark.parametrize("to", export_targets())
def test_the_same_split_gives_the_same_bytes(to: str, work: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(work / "memmap", tmp_path / name / "out", to)
    if to == "npz":
        first, second = (hashlib.sha256((tmp_path / n / "out").read_bytes()).digest() for n in ("one", "two"))
        assert first == second
    else:
        assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_memory_is_bounded_by_a_sample(tmp_path: Path) -> None:
    """Every sample is let go before the one after the next is read."""
    import gc
    import weakref

    alive: list[Any] = []

    class Watched(Source):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> dict[str, Any]:
            image = np.full((8, 8, 3), index, np.uint8)
            alive.append(weakref.ref(image))
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 4
            return {"image": image}

    for to in ("folder", "tfrecord", "npz"):
        alive.clear()
        export(Watched(), tmp_path / to, to)
        assert len(alive) >= 20


def test_wrong_arguments_are_told(work: Path, tmp_path: Path) -> None:
    for options, match in (
        ({"to": "zip"}, "choose one of folder"),
        ({"to": "folder", "columns": ["picture"]}, "choose one of 'image'"),
        ({"to": "folder", "columns": ["label"]}, "no image"),
        ({"to": "folder", "images_per_file": 0}, "at least 1"),
        ({"to": "folder", "split": "none"}, "none"),
    ):
        with pytest.raises(ValueError, match=match):
            export(work / "parquet", tmp_path / "out", **options)
    with pytest.raises(ConfigError, match="letters, digits"):
        export(work / "parquet", tmp_path / "out", "folder", split="../x")
    with pytest.raises(ConfigError, match="lies in the input"):
        export(work / "parquet", work / "parquet" / "out", "folder")
    assert list(tmp_path.iterdir()) == []


def test_the_command_exports(work: Path, photos: Any, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert main(["export", str(work / "parquet"), str(out), "--to", "folder", "--columns", "image"]) == 0
    assert str(out) in capsys.readouterr().out
    assert [path.read_bytes() for path in sorted(out.iterdir())] == [path.read_bytes() for path, _ in photos]
    assert main(["export", str(work / "parquet"), str(out), "--to", "folder"]) == 2
    assert main(["export", str(work / "photos"), str(tmp_path / "records"), "--to", "tfrecord"]) == 0
    assert TFRecordSource(tmp_path / "records")[0]["image"].data == photos[0][0].read_bytes()


def test_a_stopped_export_says_that_nothing_was_written(
    work: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr("shardwright.base.export.export", stopped)
    assert main(["export", str(work / "parquet"), str(tmp_path / "out"), "--to", "folder"]) == 143
    assert capsys.readouterr().err == "shardwright: stopped by SIGTERM; nothing was written\n"


@pytest.mark.parametrize(
    ("to", "further", "message"),
    [
        ("npz", {"x_train": 1}, "'x_train', in which images are x"),
        ("npz", {"y_train": 1.5}, "'y_train', in which images are x"),
        ("folder", {"file_name": "mine.png"}, "'file_name' in metadata.jsonl"),
        ("folder", {"dots": np.zeros(2), "dots_path": "mine"}, "'dots_path' in metadata.jsonl"),
    ],
)
def test_fields_of_one_name_are_refused(to: str, further: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A zip file takes two members of one name and gives the last one, a JSON object the last value."""
    data = [{"image": picture(n, size=(4, 4)), "label": n, **further} for n in range(2)]
    with pytest.raises(ConfigError, match=f"two fields would be .*{message}.*columns="):
        export(data, tmp_path / "out", to)
    assert not list(tmp_path.iterdir())
    export(data, tmp_path / "out", to, columns=["image", "label"])
