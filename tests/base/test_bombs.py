"""Small files that ask for much memory: told before it is taken, by whoever reads files of others."""

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright.arrays.source import ArraySource
from shardwright.base.errors import ShardwrightError
from shardwright.base.index_files import index_files
from shardwright.base.verify import verify
from shardwright.hdf5 import source as array_hdf5
from shardwright.parquet import pages
from shardwright.pyarrow_ipc import arrow_inflate
from tests.conformance.children import in_child
from tests.conformance.tools import Store, encoded, numbered, picture
from tests.forged import sign

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read as on Linux"
)

MEBI = 2**20
BOMB, MOST = 256 * MEBI, 64 * MEBI  # what the files below inflate to, and what reading them may take
PNGS = [encoded(picture(n)) for n in range(4)]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
IMAGES = pa.array([{"bytes": data, "path": ""} for data in PNGS], IMAGE)


@pytest.fixture(autouse=True)
def _lower_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bombs of these tests be smaller than true ones."""
    monkeypatch.setattr(arrow_inflate, "MAX_INFLATED", 32 * MEBI)
    monkeypatch.setattr(pages, "MAX_PAGE", 32 * MEBI)


def peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def in_little_memory(work: Callable[[], Any]) -> str:
    """What the error says with which a function ends, in a process that must stay small."""

    def watched() -> tuple[str, int]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of the tests before
        before = peak()
        try:
            said = str(work())
        except ShardwrightError as error:
            said = f"{type(error).__name__}: {error}"
        return said, peak() - before

    said, taken = in_child(watched)
    assert taken < MOST, f"{taken / MEBI:.0f} MiB were taken, and then: {said}"
    return str(said)


# Files that index_files is given. Each function returns the path.


def arrow_file(folder: Path) -> Path:
    return write_arrow(folder / "a.arrow", {"x": pa.array([bytes(BOMB // 4)] * 4, pa.large_binary())}, pa.ipc.new_file)


def arrow_stream(folder: Path) -> Path:
    return write_arrow(
        folder / "a.arrows", {"x": pa.array([bytes(BOMB // 4)] * 4, pa.large_binary())}, pa.ipc.new_stream
    )


def arrow_dictionary(folder: Path) -> Path:
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 4), pa.array([bytes(BOMB)], pa.large_binary()))
    return write_arrow(folder / "a.arrow", {"x": words}, pa.ipc.new_file)


def write_arrow(path: Path, columns: dict[str, Any], writer: Callable[..., Any]) -> Path:
    table = pa.table({"image": IMAGES, **columns})
    with writer(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        file.write_table(table)
    return path


def parquet_page(folder: Path) -> Path:
    """A page of numbers, in place of the one that was written, with zeros behind its values."""
    path, count = folder / "a.parquet", 20_000
    numbers = np.random.default_rng(0).integers(0, 2**62, count)
    table = pa.table({"data": pa.array([b"x"] * count, pa.binary()), "n": pa.array(numbers)})
    schema = pa.schema([pa.field("data", pa.binary(), False), pa.field("n", pa.int64(), False)])
    codecs = {"data": "none", "n": "zstd"}
    pq.write_table(
        table.cast(schema), path, compression=codecs, use_dictionary=False, write_statistics=False, data_page_size=2**30
    )
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(1)
    packed = pa.compress(bytes(BOMB), codec="zstd", asbytes=True)
    header = b"\x15\x00\x15" + varint(2 * BOMB) + b"\x15" + varint(2 * len(packed))
    header += b"\x2c\x15" + varint(2 * count) + b"\x15\x00\x15\x06\x15\x06\x00\x00"
    content = bytearray(path.read_bytes())
    assert len(header + packed) <= chunk.total_compressed_size
    content[chunk.data_page_offset : chunk.data_page_offset + len(header + packed)] = header + packed
    path.write_bytes(content)
    return path


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def npy_of_nothing(folder: Path) -> Path:
    with (folder / "a.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 0, 3)}
        np.lib.format.write_array_header_1_0(file, header)
    return folder / "a.npy"


def hdf5_of_nothing(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("images", (2**40, 0, 3), "u1")
    return folder / "a.h5"


def hdf5_never_written(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("images", (2**33, 4), "u1")
        file.create_dataset("labels", (2**40,), "i8", chunks=(MEBI,), compression="gzip")
    return folder / "a.h5"


def hdf5_chunk(folder: Path) -> Path:
    """A chunk of one number that inflates to many."""
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((4, 2, 2), np.uint8)
        labels = file.create_dataset("labels", (4,), "i8", chunks=(4,), compression="gzip")
        labels.id.write_direct_chunk((0,), zlib.compress(bytes(BOMB)))
    return path


def hdf5_wide_chunk(folder: Path) -> Path:
    """Four numbers, in a chunk that has room for more."""
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((4, 2, 2), np.uint8)
        file.create_dataset("labels", data=range(4), chunks=(BOMB // 8,), maxshape=(None,), compression="gzip")
    return path


REFUSED = {
    arrow_file: "LimitError.*write it without compression",
    arrow_stream: "LimitError.*write it without compression",
    arrow_dictionary: "LimitError.*write it without compression",
    parquet_page: "LimitError.*write smaller pages",
    npy_of_nothing: "InputError.*no bytes",
    hdf5_of_nothing: "InputError.*no bytes",
    hdf5_never_written: "InputError.*never written to the end",
}


@pytest.mark.parametrize("write", REFUSED, ids=lambda write: write.__name__)
def test_a_file_to_be_indexed_takes_no_more_memory_than_it_has_bytes(write: Callable[[Path], Path], tmp_path: Path):
    """Fault 120: compressed bombs, and counts of samples that are not there."""
    path = write(tmp_path)
    assert path.stat().st_size < MEBI
    said = in_little_memory(lambda: index_files(path))
    assert re.search(REFUSED[write], said), said


@pytest.mark.parametrize(
    ("write", "why"),
    [(hdf5_chunk, "a chunk inflates to more than its 32 bytes"), (hdf5_wide_chunk, "has chunks of 268435456 bytes")],
    ids=["chunk", "wide_chunk"],
)
@pytest.mark.parametrize("name", ["labels", "weights"])
def test_numbers_that_inflate_to_more_than_they_are_are_not_read(
    write: Callable[[Path], Path], why: str, name: str, tmp_path: Path
) -> None:
    """Fault 120: HDF5 itself inflates a chunk to whatever it holds. Without its labels a file is of no use."""
    path = write(tmp_path)
    with h5py.File(path, "r+") as file:
        file.move("labels", name)
    said = in_little_memory(lambda: index_files(path).ignored)
    assert re.search(why, said), said
    assert said.startswith("LimitError" if name == "labels" else "{'a.h5[weights]"), said


def test_a_chunk_of_an_input_inflates_to_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fault 120: where HDF5 files are converted."""
    monkeypatch.setattr(array_hdf5, "_MAX_CHUNK", 32 * MEBI)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (4, 2, 2), "u1", chunks=(4, 2, 2), compression="gzip")
        images.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(BOMB)))
    said = in_little_memory(lambda: ArraySource(path)[0])
    assert re.search("LimitError.*images.*inflates", said), said


# Splits that say they are ours, with hashes that fit. Each function forges the label of the shard it gets.


def parquet_of_one_label(path: Path) -> None:
    """A second row group of images that are missing and one label, repeated."""
    table, count = pq.read_table(path), BOMB // 8
    label = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), count), pa.array([0])).cast(pa.int64())
    more = pa.table({"image": pa.nulls(count, IMAGE), "label": label}).cast(table.schema)
    with pq.ParquetWriter(path, table.schema, use_dictionary=["label"], compression="zstd") as writer:
        writer.write_table(table)
        writer.write_table(more, row_group_size=count)


def arrow_of_zeros(path: Path) -> None:
    with pa.OSFile(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    table = table.append_column("x", pa.array([bytes(BOMB // 4)] * 4, pa.large_binary()))
    with pa.ipc.new_file(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        file.write_table(table)


def hdf5_label_never_written(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["label"]
        file.create_dataset("label", (BOMB // 8,), "i8")


def hdf5_label_in_a_chunk(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["label"]
        labels = file.create_dataset("label", (4,), "i8", chunks=(4,), compression="gzip")
        labels.id.write_direct_chunk((0,), zlib.compress(bytes(BOMB)))


def hdf5_images_never_written(path: Path) -> None:
    shape = (BOMB // 8, *h5py.File(path)["image"].shape[1:])
    with h5py.File(path, "r+") as file:
        del file["image"]
        file.create_dataset("image", shape, "u1")


FORGED = {
    arrow_of_zeros: ("pyarrow_ipc", "inflates to more than"),
    hdf5_images_never_written: ("hdf5", "the file is too small"),
    hdf5_label_in_a_chunk: ("hdf5", "in chunks"),
    hdf5_label_never_written: ("hdf5", "the file is too small"),
    parquet_of_one_label: ("parquet", "it is compressed"),
}


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_verify_takes_no_more_memory_than_a_shard_has_bytes(forge: Callable[[Path], None], tmp_path: Path):
    """Fault 120: a forged split is a problem, and no more."""
    name, why = FORGED[forge]
    store = Store(name, tmp_path)
    split = store.convert(numbered(4))
    forge(store.shards(split)[0])
    sign(split)
    said = in_little_memory(lambda: verify(split).problems[0])
    assert re.search(f"shard 0: {name} cannot read it: .*{why}", said), said
