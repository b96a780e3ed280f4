"""Labels that are texts are class names, the same in files of every technology, converted and indexed."""

import io
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shardwright.base.index_files import index_files
from shardwright.base.reader import open_reader
from shardwright.parquet.converter import ParquetConverter
from tests.tfrecord.test_index_in_place import write_records

TEXTS = ["owl", "cat", "", "owl"]
COUNT = len(TEXTS)


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (5, 6), value).save(file, "png")
    return file.getvalue()


def parquet(path: Path, compression: str) -> Path:
    table = pa.table({"image": [png(i) for i in range(COUNT)], "label": TEXTS})
    pq.write_table(table, path / "a.parquet", compression=compression, use_dictionary=False)
    return path / "a.parquet"


def arrow(path: Path) -> Path:
    table = pa.table({"image": [png(i) for i in range(COUNT)], "label": TEXTS})
    with pa.OSFile(str(path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return path / "a.arrow"


def webdataset(path: Path) -> Path:
    with tarfile.open(path / "a.tar", "w") as archive:
        for i, text in enumerate(TEXTS):
            for end, data in (("png", png(i)), ("cls", text.encode())):
                info = tarfile.TarInfo(f"{i}.{end}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path / "a.tar"


def npz(path: Path) -> Path:
    np.savez(path / "a.npz", x=np.stack([np.full((5, 6), i, np.uint8) for i in range(COUNT)]), y=np.array(TEXTS))
    return path / "a.npz"


def hdf5(path: Path) -> Path:
    with h5py.File(path / "a.h5", "w") as file:
        file["x"] = np.stack([np.full((5, 6), i, np.uint8) for i in range(COUNT)])
        file["y"] = np.array(TEXTS, "S3")
    return path / "a.h5"


def tfrecord(path: Path) -> Path:
    records = [{"image": [png(i)], "label": [text.encode()]} for i, text in enumerate(TEXTS)]
    write_records(path / "a.tfrecord", records)
    return path / "a.tfrecord"


INPUTS: dict[str, Any] = {
    "Parquet": lambda path: parquet(path, "none"),
    "compressed Parquet": lambda path: parquet(path, "zstd"),
    "Arrow": arrow,
    "webdataset": webdataset,
    "npz": npz,
    "TFRecord": tfrecord,
    "HDF5": hdf5,
}


@pytest.mark.parametrize("kind", INPUTS)
def test_texts_are_class_names(kind: str, tmp_path: Path) -> None:
    data = INPUTS[kind](tmp_path)
    ParquetConverter(data, tmp_path / "out", num_workers=0).convert()
    readers = [open_reader(tmp_path / "out")]
    if kind != "compressed Parquet":
        index_files(data, tmp_path / "index")
        readers.append(open_reader(tmp_path / "index", data_path=tmp_path))
    for reader in readers:
        assert reader.class_to_idx == {"cat": 0, "owl": 1}
        assert reader.targets.tolist() == [1, 0, -1, 1]
        assert [int(np.asarray(reader[i][0]).max()) for i in range(COUNT)] == list(range(COUNT))
        assert reader.label_audit.missing == 1
        assert reader.label_audit.labels_from


def test_captions_are_no_classes(tmp_path: Path) -> None:
    table = pa.table({"image": [png(i) for i in range(3)], "label": ["x" * 300, "b", "c"]})
    pq.write_table(table, tmp_path / "a.parquet")
    ParquetConverter(tmp_path / "a.parquet", tmp_path / "out", num_workers=0).convert()
    assert open_reader(tmp_path / "out").fields[1].kind == "text"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("cells", "wanted"),
    [([1, None, 0], [1, -1, 0]), ([0.5, None, 1.0], [0.5, np.nan, 1.0]), ([True, False, None], [1, 0, -1])],
)
def test_missing_numbers_are_missing_labels(kind: str, cells: list[Any], wanted: list[float], tmp_path: Path) -> None:
    table = pa.table({"image": [png(i) for i in range(3)], "label": cells})
    if kind == "parquet":
        pq.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    else:
        with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    index_files(tmp_path / f"a.{kind}", tmp_path / "index")
    ParquetConverter(tmp_path / f"a.{kind}", tmp_path / "out", num_workers=0).convert()
    for reader in (open_reader(tmp_path / "out"), open_reader(tmp_path / "index", data_path=tmp_path)):
        assert np.array_equal(reader.targets, wanted, equal_nan=True)
        assert reader.label_audit.missing == 1


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(("rows", "wanted"), [([[0, 1], [1, 0], [0, 1]], [1, 0, 1]), ([[1, 1], [0, 0], [0, 1]], None)])
def test_rows_of_a_column_are_one_hot_or_several_labels(
    fixed: bool, rows: list[list[int]], wanted: list[int] | None, tmp_path: Path
) -> None:
    labels = pa.array(rows, pa.list_(pa.int64(), 2) if fixed else pa.list_(pa.int64()))
    table = pa.table({"image": [png(i) for i in range(3)], "label": labels})
    pq.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    index_files(tmp_path / "a.parquet", tmp_path / "index")
    ParquetConverter(tmp_path / "a.parquet", tmp_path / "out", num_workers=0).convert()
    for reader in (open_reader(tmp_path / "out"), open_reader(tmp_path / "index", data_path=tmp_path)):
        if wanted is not None:
            assert reader.targets.tolist() == wanted
        elif "label" in [f.name for f in reader.fields]:
            found = [s["label"] if isinstance(s, dict) else s[1] for s in (reader[i] for i in range(3))]
            assert np.array_equal(found, rows)
