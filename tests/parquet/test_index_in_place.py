"""Parquet and Arrow files: what is compressed, encoded, missing or forged is not read in place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright.base.errors import InputError
from shardwright.base.index_files import index_files
from shardwright.base.reader import open_reader
from shardwright.tar.converter import TarConverter
from tests.base.index_files.files import COUNT, IMAGE, LABELS, PNGS, by_pyarrow_file, refused, table


@pytest.mark.parametrize(("options", "why"), [({"compression": "snappy"}, "snappy"), ({}, "dictionary")])
def test_parquet_that_is_compressed_or_encoded_says_to_convert(
    options: dict[str, Any], why: str, tmp_path: Path
) -> None:
    """Faults 119, 120: nothing is inflated."""
    options = {"compression": "none", "use_dictionary": True} | options
    pq.write_table(table(), tmp_path / "a.parquet", **options)
    refused(tmp_path / "a.parquet", InputError, rf"(?s){why}.*convert it.*ParquetConverter\(input_data='.*a\.parquet'")


def test_columns_that_are_compressed_are_left_out_and_told(tmp_path: Path) -> None:
    codecs = {"image.bytes": "none", "image.path": "none", "label": "gzip", "text": "snappy"}
    path = tmp_path / "a.parquet"
    pq.write_table(table(text=["a"] * COUNT), path, compression=codecs, use_dictionary=False)
    manifest = index_files(path)
    assert manifest.ignored == {"field text: compressed (snappy)": COUNT}
    assert open_reader(tmp_path).targets.tolist() == LABELS


def test_missing_images_are_told_and_may_be_skipped(tmp_path: Path) -> None:
    images = pa.array([{"bytes": PNGS[0], "path": None}, {"bytes": None, "path": "far/away.png"}], IMAGE)
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", compression="none", use_dictionary=False)
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), pa.schema([("image", IMAGE)])) as writer:
        writer.write_table(pa.table({"image": images}))
    for name in ("a.parquet", "a.arrow"):
        refused(tmp_path / name, InputError, r"1 of 2 images are missing.*on_error='skip'")
        with pytest.raises(InputError, match=f"{name}, sample 1: field 'image' has no value"):
            TarConverter(tmp_path / name, tmp_path / f"raised {name}").convert()
        TarConverter(tmp_path / name, tmp_path / f"out {name}", on_error="skip").convert()
        assert len(open_reader(tmp_path / f"out {name}")) == 1


def test_arrow_that_is_compressed_says_to_convert(tmp_path: Path) -> None:
    """Fault 120: nothing is inflated."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table().schema, options=options) as writer:
        writer.write_table(table())
    refused(tmp_path / "a.arrow", InputError, "(?s)compressed.*convert it")


def test_arrow_columns_of_other_types_are_left_out_and_told(tmp_path: Path) -> None:
    """Fault 119: dictionaries, nested and extension types; none of them is indexed."""
    numbers = pa.array([[n, n + 1] for n in range(COUNT)], pa.list_(pa.int32(), 2))
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int32(), [2]), numbers)
    words = pa.array(["a"] * COUNT).dictionary_encode()
    nested = pa.array([[{"a": n}] for n in range(COUNT)])
    odd = table(words=words, nested=nested, tensors=tensors)
    with pa.ipc.new_file(tmp_path / "a.arrow", odd.schema) as writer:
        writer.write_table(odd)
    manifest = index_files(tmp_path)
    assert [f.name for f in manifest.fields] == ["image", "label"]
    names = [reason.split(":")[0] for reason in sorted(manifest.ignored)]
    assert names == ["column tensors", "field nested", "field words"]
    assert len(list(open_reader(tmp_path))) == COUNT


def test_arrow_offsets_that_are_forged_are_refused(tmp_path: Path) -> None:
    """Fault 121."""
    path = tmp_path / "a.arrow"
    by_pyarrow_file(tmp_path)
    (tmp_path / "train.arrow").rename(path)
    cuts = np.cumsum([0, *map(len, PNGS[:5])]).astype("<i4")
    forged = cuts.copy()
    forged[2] = 2**30
    data = path.read_bytes()
    assert cuts.tobytes() in data
    path.write_bytes(data.replace(cuts.tobytes(), forged.tobytes()))
    refused(path, InputError, "damaged")


@pytest.mark.parametrize("kind", [pa.uint8(), pa.uint64(), pa.bool_()], ids=str)
def test_class_labels_of_types_without_a_sign(kind: Any, tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    images = pa.array([{"bytes": png, "path": None} for png in PNGS[:3]], IMAGE)
    labels = pa.array([1, 0, None]).cast(kind)
    found = pa.table({"image": images, "label": labels}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    pq.write_table(found, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    index_files(tmp_path / "a.parquet")
    reader = open_reader(tmp_path)
    assert reader.targets.tolist() == [1, 0, -1]
    assert reader.classes == ["cat", "dog"]
