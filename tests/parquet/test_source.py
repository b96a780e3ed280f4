"""Parquet and Arrow files as inputs, however they are stored; `index_files` sees the same in them."""

import itertools
import json
import pickle
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from shardwright.base.errors import InputError, LimitError
from shardwright.base.formats import get_format
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.base.source import Source
from shardwright.memmap.converter import MemmapConverter
from shardwright.parquet import source as parquet_source
from shardwright.parquet.converter import ParquetConverter
from shardwright.pyarrow_ipc import arrow_rows
from shardwright.tar.converter import TarConverter
from tests.base.index_files.files import (
    COUNT,
    IMAGE,
    LABELS,
    NAMES,
    PIXELS,
    PNGS,
    by_hf_arrow,
    by_hf_parquet,
    foreign,
    table,
)
from tests.conformance.children import in_child

FEATURES = {
    "image": {"_type": "Image"},
    "label": {"_type": "ClassLabel", "names": NAMES},
    "text": {"dtype": "string", "_type": "Value"},
}
TEXTS = [f"number {n}" for n in range(COUNT)]


def described() -> pa.Table:
    """Images, labels and texts as Hugging Face's `datasets` describes them."""
    return table(text=TEXTS).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})


def parquet(found: pa.Table, path: Path, **options: Any) -> Path:
    pq.write_table(found, path.with_suffix(".parquet"), row_group_size=5, **options)
    return path.with_suffix(".parquet")


def arrow(found: pa.Table, path: Path, compression: Any = None, writer: Any = pa.ipc.new_file) -> Path:
    with writer(
        str(path.with_suffix(".arrow")), found.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as file:
        file.write_table(found, max_chunksize=5)
    return path.with_suffix(".arrow")


def stream(found: pa.Table, path: Path, compression: Any = None) -> Path:
    return arrow(found, path, compression, pa.ipc.new_stream)


STORED: dict[str, Callable[[pa.Table, Path], Path]] = {
    **{
        f"Parquet {codec}": partial(parquet, compression=codec, use_dictionary=False)
        for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli")
    },
    "Parquet dictionary": partial(parquet, compression="none"),
    "Parquet defaults": parquet,
    "Parquet pages 2": partial(parquet, data_page_version="2.0", data_page_size=100),
    "Parquet without statistics": partial(parquet, write_statistics=False),
    "Parquet delta": partial(
        parquet,
        compression="none",
        use_dictionary=False,
        column_encoding={"image.bytes": "DELTA_LENGTH_BYTE_ARRAY", "text": "DELTA_BYTE_ARRAY"},
    ),
    **{
        f"Arrow {kind} {codec}": partial(write, compression=codec)
        for (kind, write), codec in itertools.product((("file", arrow), ("stream", stream)), (None, "lz4", "zstd"))
    },
}


def described_as(source: Source) -> tuple[Any, ...]:
    return len(source), list(source.fields.values()), source.sample_type


@pytest.mark.parametrize("stored", STORED)
def test_bytes_labels_and_names_come_out_however_they_are_stored(stored: str, tmp_path: Path) -> None:
    path = STORED[stored](described(), tmp_path / "train")
    TarConverter(path, tmp_path / "out", images_per_file=7).convert()
    reader = open_reader(tmp_path / "out", output="bytes")
    samples = [reader[n] for n in range(len(reader))]
    assert [sample["image"] for sample in samples] == PNGS
    assert [bytes(sample["text"]).decode() for sample in samples] == TEXTS
    assert reader.targets.tolist() == LABELS
    assert reader.classes == NAMES
    assert described_as(open_source(path)) == described_as(open_source(STORED["Parquet none"](described(), path)))


@pytest.mark.parametrize("stored", STORED)
def test_what_does_not_lie_there_as_it_is_is_not_indexed(stored: str, tmp_path: Path) -> None:
    path = STORED[stored](described(), tmp_path / "train")
    if stored.endswith(("none", "None")):
        assert index_files(path).ignored == {}
        assert [f.name for f in index_files(path, split="again").fields] == list(open_source(path).fields)
        return
    with pytest.raises(InputError, match=r"field 'image': .*convert it.*Converter\(input_data='.*train\."):
        index_files(path)


def by_duckdb(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    found = table()
    with duckdb.connect() as connection:
        connection.register("found", found)
        connection.execute(f"COPY (SELECT * FROM found) TO '{folder / 'a.parquet'}' (FORMAT parquet, COMPRESSION zstd)")


def by_polars(ending: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        polars = pytest.importorskip("polars")
        kinds = polars.Series(["a", "b", "c"] * 4, dtype=polars.Categorical)
        frame = polars.DataFrame({"image": PNGS, "label": LABELS, "kind": kinds})
        for part, rows in enumerate((frame[:5], frame[5:])):
            if ending == "parquet":
                rows.write_parquet(folder / f"{part}.parquet")
            else:
                rows.write_ipc(folder / f"{part}.arrow", compression="zstd")

    return write


WRITERS = {
    "duckdb": by_duckdb,
    "polars Parquet": by_polars("parquet"),
    "polars Arrow": by_polars("arrow"),
    "Hugging Face Parquet": by_hf_parquet,
    "Hugging Face save_to_disk": by_hf_arrow,
}


@pytest.mark.parametrize("writer", WRITERS)
@foreign
def test_files_of_other_programs_are_converted(writer: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    WRITERS[writer](folder)
    ParquetConverter(folder, tmp_path / "out").convert()
    reader = open_reader(tmp_path / "out", output="bytes")
    samples = [reader[n] for n in range(COUNT)]
    assert [sample["image"] if isinstance(sample, dict) else sample[0] for sample in samples] == PNGS
    assert reader.targets.tolist() == LABELS
    if writer.startswith("Hugging"):
        assert reader.classes == NAMES


NUMBERS = [[n, n + 1, n + 2] for n in range(COUNT)]
BYTES = [b"%02d" % n for n in range(COUNT)]
BOXES = [{"box": [[0.5, 1]], "id": [n]} for n in range(COUNT)]
LINES = pa.FixedSizeListArray.from_arrays(PIXELS[..., 0].ravel(), 7)
# What a column of a type becomes: the column, and the values that come out.
TYPES: dict[str, tuple[pa.Array, str, list[Any]]] = {
    "binary": (pa.array(BYTES), "bytes", BYTES),
    "large_binary": (pa.array(BYTES, pa.large_binary()), "bytes", BYTES),
    "binary_view": (pa.array(BYTES, pa.binary_view()), "bytes", BYTES),
    "fixed_size_binary": (pa.array(BYTES, pa.binary(2)), "bytes", BYTES),
    "string_view": (pa.array(TEXTS, pa.string_view()), "text", TEXTS),
    "large_string": (pa.array(TEXTS, pa.large_string()), "text", TEXTS),
    "dictionary": (pa.array(TEXTS).dictionary_encode(), "text", TEXTS),
    "list of numbers": (pa.array(NUMBERS, pa.list_(pa.float32())), "array", NUMBERS),
    "list of one length": (pa.array(NUMBERS, pa.list_(pa.int16(), 3)), "array", NUMBERS),
    "pixels": (pa.FixedSizeListArray.from_arrays(LINES, 6), "image", PIXELS[..., 0].tolist()),
    "list of text": (pa.array([["a", t] for t in TEXTS]), "json", [["a", t] for t in TEXTS]),
    "boxes": (pa.array(BOXES), "json", BOXES),
    "bool": (pa.array([True, False] * 6), "int", [1, 0] * 6),
    "half": (pa.array(np.arange(COUNT, dtype=np.float16)), "float", list(range(COUNT))),
}
LEFT_OUT = {
    "timestamp": pa.array(range(COUNT), pa.timestamp("us")),
    "decimal128": pa.array(range(COUNT), pa.decimal128(5)),
    "map": pa.array([[("a", 1)]] * COUNT, pa.map_(pa.string(), pa.int8())),
    "2 values are missing": pa.array(["a", None] * 2 + ["b"] * (COUNT - 4)),
    "only the paths": pa.array([{"bytes": None, "path": "a.png"}] * COUNT, IMAGE),
}


@pytest.mark.parametrize("write", [parquet, stream, arrow], ids=lambda write: write.__name__)
@pytest.mark.parametrize("kind", TYPES)
def test_what_columns_become(kind: str, write: Any, tmp_path: Path) -> None:
    column, field_kind, values = TYPES[kind]
    path = write(table(**{"a.b": column}), tmp_path / "a")
    source = open_source(path)
    assert source.fields["a_b"].kind == field_kind
    found = [source[n]["a_b"] for n in range(COUNT)]
    assert [value.tolist() if isinstance(value, np.ndarray) else value for value in found] == values
    ParquetConverter(path, tmp_path / "out").convert()
    assert len(list(open_reader(tmp_path / "out"))) == COUNT


@pytest.mark.parametrize("write", [parquet, arrow], ids=lambda write: write.__name__)
@pytest.mark.parametrize("why", LEFT_OUT)
def test_what_is_left_out_and_told(why: str, write: Any, tmp_path: Path) -> None:
    path = write(table(x=LEFT_OUT[why]), tmp_path / "a")
    (reason,) = open_source(path).ignored
    assert reason.startswith("column x: ")
    assert why in reason
    TarConverter(path, tmp_path / "out").convert()
    assert dict(open_reader(tmp_path / "out").manifest.ignored) == {reason: COUNT}


@pytest.mark.parametrize("write", [parquet, arrow], ids=lambda write: write.__name__)
def test_images_in_lists_of_numbers(write: Any, tmp_path: Path) -> None:
    images = pa.array([list(png) for png in PNGS], pa.list_(pa.uint8()))
    path = write(pa.table({"image": images, "label": LABELS}), tmp_path / "a")
    MemmapConverter(path, tmp_path / "out", shape=(6, 7)).convert()
    assert np.array_equal(np.stack([np.asarray(image) for image, _ in open_reader(tmp_path / "out")]), PIXELS)


def test_every_converter_takes_compressed_files(tmp_path: Path) -> None:
    path = parquet(described().drop_columns(["text"]), tmp_path / "a", compression="zstd")
    for name in ("memmap", "hdf5", "parquet", "pyarrow_ipc", "tar"):
        options = {"shape": (6, 7)} if name in ("memmap", "hdf5") else {}
        get_format(name).load_converter()(path, tmp_path / name, **options).convert()
        reader = open_reader(tmp_path / name, output="numpy")
        assert np.array_equal(np.stack([image for image, _ in reader]), PIXELS)
        assert (reader.targets.tolist(), reader.classes) == (LABELS, NAMES)


def test_files_that_are_stored_in_different_ways(tmp_path: Path) -> None:
    parquet(described()[:4], tmp_path / "a", compression="none", use_dictionary=False)
    parquet(described()[4:], tmp_path / "b")
    source = open_source(tmp_path)
    assert [source[n]["image"].data for n in range(COUNT)] == PNGS
    with pytest.raises(InputError, match="field 'image': compressed"):
        index_files(tmp_path)


def test_rows_are_decoded_once_when_they_are_read_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_source, "_PIECE", 1000)
    monkeypatch.setattr(arrow_rows, "KEPT", 1000)
    begun: list[int] = []
    decoded = parquet_source.ParquetLayout.decoded
    source = open_source(parquet(described(), tmp_path / "a"))
    monkeypatch.setattr(parquet_source.ParquetLayout, "decoded", lambda self, n: begun.append(n) or decoded(self, n))
    assert [source[n]["image"].data for n in range(COUNT)] == PNGS
    assert begun == [0]
    assert [source[n]["image"].data for n in range(COUNT - 1, -1, -1)] == PNGS[::-1]


@pytest.mark.parametrize("write", [parquet, lambda found, path: stream(found, path, "zstd")], ids=["parquet", "arrow"])
def test_threads_processes_and_copies_read_the_same(write: Any, tmp_path: Path) -> None:
    source = open_source(write(described(), tmp_path / "a"))
    order = [int(n) for n in np.random.default_rng(0).integers(0, COUNT, 100)]
    with ThreadPoolExecutor(4) as threads:
        assert [sample["image"].data for sample in threads.map(source.__getitem__, order)] == [PNGS[n] for n in order]
    assert pickle.loads(pickle.dumps(source))[3]["image"].data == PNGS[3]
    assert len(pickle.dumps(source)) < 10_000
    for start in ("spawn", "fork"):
        loader = DataLoader(source, batch_size=None, num_workers=2, multiprocessing_context=start)  # type: ignore[arg-type]
        assert [sample["image"].data for sample in loader] == PNGS


def test_more_values_than_the_file_can_hold_are_refused(tmp_path: Path) -> None:
    """A dictionary of one value stands for any number of rows."""
    count = 2**27
    nothing = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array(["a"]))
    pq.write_table(pa.table({"text": nothing}), tmp_path / "a.parquet", row_group_size=count, compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 2**20
    with pytest.raises(LimitError, match="values in"):
        open_source(tmp_path / "a.parquet")


def test_a_file_of_numbers_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column can be read but numbers"):
        open_source(parquet(pa.table({"a": [1, 2]}), tmp_path / "a"))


@pytest.mark.parametrize(
    ("written", "forged"), [(b"\x04text\x15\x02", b"\x04text\x15\x1c"), (b"\x15\x0c", b"\x15\x00")]
)
def test_a_footer_that_pyarrow_would_abort_on_is_refused(written: bytes, forged: bytes, tmp_path: Path) -> None:
    """A codec that does not exist, and columns of another type than the schema's."""
    path = parquet(pa.table({"text": TEXTS}), tmp_path / "a")
    data = path.read_bytes()
    place = data.rindex(written)
    path.write_bytes(data[:place] + forged + data[place + len(forged) :])
    with pytest.raises(InputError, match="type or codec"):
        open_source(path)


def test_a_dictionary_that_is_repeated_takes_little_memory(tmp_path: Path) -> None:
    value, count = bytes(2**22), 2000  # 8 GB in all
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))
    pq.write_table(pa.table({"data": column}), tmp_path / "a.parquet", store_schema=False)
    source = open_source(tmp_path / "a.parquet")

    def peak() -> int:
        for n in range(10):
            assert source[n]["data"] == value
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert in_child(peak) - before < 2**20, "KiB"
