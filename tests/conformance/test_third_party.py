"""Other libraries open the output unchanged: Hugging Face's datasets, webdataset, wids, DALI."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shardwright.base.fields import Field
from tests.conformance.own_library import read_shards
from tests.conformance.tools import CLASSES, Store, make_folder, rgb


@pytest.fixture(scope="module", params=["parquet", "pyarrow_ipc"])
def arrow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return lambda name: Store(name, tmp_path_factory.mktemp(name))


def load(path: Path, cache: Path, **options: Any) -> Any:
    """What `datasets.load_dataset` of Hugging Face gives for a folder of ours."""
    pytest.importorskip("datasets.load", reason="Hugging Face's datasets is not installed")
    os.environ["HF_HUB_OFFLINE"] = "1"
    from datasets import load_dataset

    return load_dataset(str(path), cache_dir=str(cache), **options)


# Its own habits: files left to the garbage collector, old call signatures.
foreign = pytest.mark.filterwarnings("ignore")


@foreign
def test_hugging_face_finds_splits_images_and_classes(arrow: Store, tmp_path: Path):
    """By the names of the files alone; images and class labels come out as such."""
    path = arrow.photos
    found = load(path, tmp_path)
    assert list(found) == ["train"]
    data = found["train"]
    files = arrow.photo_files
    assert len(data) == len(files)
    assert type(data.features["image"]).__name__ == "Image"
    assert type(data.features["label"]).__name__ == "ClassLabel"
    assert data.features["label"].names == list(CLASSES)
    for row, (file, label) in zip(data, files, strict=True):
        assert row["label"] == label
        assert np.array_equal(rgb(file.read_bytes()), rgb(reencoded(row["image"])))


def reencoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@foreign
def test_hugging_face_keeps_the_bytes(arrow: Store, tmp_path: Path):
    import datasets  # Hugging Face's, beside ours

    data = load(arrow.photos, tmp_path)["train"]
    data = data.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in data] == [file.read_bytes() for file, _ in arrow.photo_files]


@foreign
def test_hugging_face_reads_tar_as_webdataset(one: Any, tmp_path: Path):
    """All samples need the same members there, so the images are all JPEG."""
    store = one("tar")
    folder = make_folder(store.root / "in", 7, [("jpg", "JPEG", "RGB", {})])
    path = store.convert(folder)
    data = load(path, tmp_path)["train"]
    assert type(data.features["jpg"]).__name__ == "Image"
    assert [row["cls"] for row in data] == store.open(path).targets.tolist()
    assert [row["__key__"] for row in data] == [f"{n:09d}" for n in range(7)]


@foreign
def test_hugging_face_reads_several_splits_and_unlabelled_samples(one: Any, tmp_path: Path):
    """-1 means that the class is not known, there as here."""
    store = one("parquet")
    samples = [{"label": n % 3 - 1, "text": str(n), "weight": n / 2} for n in range(6)]
    fields = [Field("label", "class_label", names=("a", "b"))]
    path = store.convert(samples, fields=fields, split="train")
    store.convert(samples[:2], fields=fields, split="test")
    found = load(path, tmp_path)
    assert {name: len(split) for name, split in found.items()} == {"train": 6, "test": 2}
    assert [row["label"] for row in found["train"]] == [-1, 0, 1, -1, 0, 1]
    assert found["train"][5] == {"label": 1, "text": "5", "weight": 2.5}


@foreign
def test_webdataset_reads_tar(one: Any):
    webdataset = pytest.importorskip("webdataset")
    store = one("tar")
    path = store.photos
    urls = [str(file) for file in store.shards(path)]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    files = store.photo_files
    assert [sample["__key__"] for sample in samples] == [f"{n:09d}" for n in range(12)]
    assert [int(sample["cls"]) for sample in samples] == [label for _, label in files]
    for sample, (file, _) in zip(samples, files, strict=True):
        extension = {"jpeg": "jpg"}.get(file.suffix[1:].lower(), file.suffix[1:].lower())
        assert sample[extension] == file.read_bytes()


@foreign
def test_webdataset_decodes_further_fields(one: Any):
    webdataset = pytest.importorskip("webdataset")
    store = one("tar")
    samples = [
        {
            "image": Image.fromarray(np.full((4, 5, 3), n, np.uint8)),
            "points": np.arange(n + 1.0),
            "meta": {"n": n},
            "note": "ü",
        }
        for n in range(3)
    ]
    path = store.convert(samples, fields=[Field("points", "array")])
    data = list(webdataset.WebDataset([str(p) for p in store.shards(path)], shardshuffle=False).decode("rgb8"))
    for n, sample in enumerate(data):
        assert np.array_equal(sample["png"], np.full((4, 5, 3), n))
        assert np.array_equal(sample["points.npy"], np.arange(n + 1.0))
        assert sample["meta.json"] == {"n": n}
        assert sample["note.txt"] == "ü"


def test_the_wids_index_leads_to_every_sample(one: Any):
    """As wids reads it: addresses beside the index, sorted, with the number of samples of each."""
    store = one("tar")
    path = store.photos
    index = path / "metadata" / "train.wids.json"
    values = json.loads(index.read_text())
    assert (values["__kind__"], values["wids_version"]) == ("wids-shard-index-v1", 1)
    addresses = [entry["url"] for entry in values["shardlist"]]
    assert addresses == sorted(addresses)
    counts = []
    for entry in values["shardlist"]:
        shard = (index.parent / entry["url"]).resolve()
        assert shard.stat().st_size == entry["filesize"]
        with tarfile.open(shard) as file:
            counts.append(sum(name.endswith(".cls") for name in file.getnames()))
    assert counts == [entry["nsamples"] for entry in values["shardlist"]] == [5, 5, 2]


def test_the_dali_index_gives_offset_and_size_of_every_member(one: Any):
    store = one("tar")
    for shard in store.shards(store.photos):
        lines = (store.photos / "metadata" / f"{shard.stem}.idx").read_text().splitlines()
        content = shard.read_bytes()
        with tarfile.open(shard) as file:
            members = {member.name: member for member in file}
        assert lines[0] == f"v1.2 {len(members) // 2}"
        found = [part for line in lines[1:] for part in zip(*[iter(line.split())] * 4, strict=True)]
        assert {name for *_, name in found} == set(members)
        for extension, offset, size, name in found:
            member = members[name]
            assert (int(offset), int(size)) == (member.offset_data, member.size)
            assert int(offset) % 512 == 0
            assert name.partition(".")[2] == extension
            assert len(content[int(offset) : int(offset) + int(size)]) == member.size


def test_tar_headers_are_plain_ustar(one: Any):
    """No time, no owner: the same bytes on every machine."""
    store = one("tar")
    with tarfile.open(store.shards(store.photos)[0]) as file:
        for member in file:
            assert (member.uid, member.gid, member.mtime, member.mode) == (0, 0, 0, 0o444)
            assert member.isreg()
            assert not member.pax_headers


def test_parquet_pages_are_plain_with_checksums(one: Any):
    """A reader can take a value from its place; others can check the pages."""
    store = one("parquet")
    file = pq.ParquetFile(store.shards(store.photos)[0])
    group = file.metadata.row_group(0)
    for column in map(group.column, range(group.num_columns)):
        assert column.compression == "UNCOMPRESSED"
        assert "RLE_DICTIONARY" not in column.encodings
        if column.path_in_schema.startswith("image"):
            assert not column.is_stats_set
    assert json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]["image"] == {"_type": "Image"}


def test_parquet_and_arrow_are_read_by_dataframe_libraries(one: Any):
    polars = pytest.importorskip("polars")
    duckdb = pytest.importorskip("duckdb")
    parquet, arrow = one("parquet"), one("pyarrow_ipc")
    files = parquet.shards(parquet.photos)
    labels = [label for _, label in parquet.photo_files]
    assert polars.read_parquet(files)["label"].to_list() == labels
    assert polars.concat(map(polars.read_ipc, arrow.shards(arrow.photos)))["label"].to_list() == labels
    rows = duckdb.sql(f"select label from read_parquet({[str(file) for file in files]})").fetchall()
    assert [label for (label,) in rows] == labels


def test_hdf5_says_classes_and_layout(one: Any):
    store = one("hdf5")
    with h5py.File(store.shards(store.photos)[0], "r") as file:
        assert list(file["label"].attrs["class_names"]) == list(CLASSES)
        assert (file["image"].attrs["layout"], file["image"].attrs["mode"]) == ("NHWC", "RGB")
        assert file["image"].chunks is None


def test_hdf5_with_gzip_is_read_by_h5py_and_by_us(one: Any, tmp_path: Path):
    store = one("hdf5")
    plain, zipped = store.photos, store.convert(store.root / "photos-in", "gzip", compression="gzip")
    with h5py.File(store.shards(zipped)[0], "r") as file, h5py.File(store.shards(plain)[0], "r") as other:
        assert file["image"].compression == "gzip"
        assert file["image"].chunks == (1, *file["image"].shape[1:])
        assert np.array_equal(file["image"][()], other["image"][()])
    pairs = zip(store.open(plain, output="numpy"), store.open(zipped, output="numpy"), strict=True)
    assert all(np.array_equal(a, b) and i == j for (a, i), (b, j) in pairs)


@pytest.mark.parametrize("name", ["memmap", "hdf5"])
def test_channels_first_is_stored_so_and_read_the_same(one: Any, name: str):
    store = one(name)
    plain, planar = store.photos, store.convert(store.root / "photos-in", "planar", layout="NCHW")
    file = next(path for path in store.shards(planar) if "label" not in path.name)
    assert read_shards(name, [file])["image"][0].shape == (3, 8, 12)
    for output in ("numpy", "tensor", "pil"):
        pairs = zip(store.open(plain, output=output), store.open(planar, output=output), strict=True)
        assert all(np.array_equal(np.asarray(a), np.asarray(b)) for (a, _), (b, _) in pairs)
