"""Every kind of file gives the same samples when it is converted and when it is indexed, or the one names the other."""

import gzip
import io
import json
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shardwright import ParquetConverter, index_files, open_reader, open_source, verify
from shardwright.base.errors import ShardwrightError

COUNT = 6
LABELS = [0, 1, 2, 0, 1, 2]
NAMES = ("ant", "bee", "cow")
PIXELS = [np.random.default_rng(n).integers(0, 256, (5, 7, 3), np.uint8) for n in range(COUNT)]


def encoded(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(file, kind)
    return file.getvalue()


FILES = [encoded(number) for number in range(COUNT)]


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def zipped(path: Path, members: list[tuple[str, bytes]], method: int) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def samples(*suffixes: str, start: int = 0) -> list[tuple[str, bytes]]:
    """webdataset's members."""
    values: dict[str, Callable[[int], bytes]] = {
        "png": FILES.__getitem__,
        "jp2": lambda n: encoded(n, "JPEG2000"),
        "cls": lambda n: b"%d" % LABELS[n],
        "json": lambda n: b'{"number": %d}' % n,
        "txt": lambda n: b"text %d" % n,
        "seg.png": FILES.__getitem__,
        "bin": lambda n: bytes([n]),
    }
    return [(f"{start + n:04d}.{suffix}", values[suffix](n)) for n in range(COUNT) for suffix in suffixes]


def in_classes(prefix: str = "") -> list[tuple[str, bytes]]:
    return [(f"{prefix}{NAMES[LABELS[n]]}/{n}.png", FILES[n]) for n in range(COUNT)]


def folder(path: Path, members: list[tuple[str, bytes]]) -> Path:
    for name, data in members:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def two_tars(path: Path) -> Path:
    path.mkdir()
    for number in range(2):
        tar(path / f"train-{number}.tar", samples("png", "cls", "json", start=number * 100))
    return path


def tar_of_tars(path: Path) -> Path:
    inner = []
    for name in NAMES:
        mine = [(m.rpartition("/")[2], data) for m, data in in_classes() if m.startswith(name)]
        inner.append((f"{name}.tar", tar(path.with_suffix(".inner"), mine).read_bytes()))
    path.with_suffix(".inner").unlink()
    return tar(path, inner)


def table(**columns: Any) -> pa.Table:
    made = pa.table({"image": [{"bytes": file, "path": None} for file in FILES], "label": LABELS, **columns})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(NAMES)}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def plain_table() -> pa.Table:
    return pa.table({"image": FILES, "label": LABELS, "caption": [f"text {n}" for n in range(COUNT)]})


def parquet(path: Path, made: pa.Table | None = None, **options: Any) -> Path:
    pq.write_table(table() if made is None else made, path, **{"use_dictionary": False, **options})
    return path


def by_duckdb(path: Path) -> Path:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is in the extra 'dev'")
    made = plain_table()
    duckdb.sql("select * from made").write_parquet(str(path))
    assert len(made) == COUNT
    return path


def by_polars(path: Path) -> Path:
    polars = pytest.importorskip("polars", reason="polars is in the extra 'dev'")
    polars.from_arrow(plain_table()).write_parquet(path)
    return path


def arrow(path: Path, made: pa.Table | None = None, codec: str | None = None, stream: bool = False) -> Path:
    made = table() if made is None else made
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(path, made.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(made, 4)
    return path


def views() -> pa.Table:
    made = plain_table()
    kinds = [pa.binary_view(), pa.int64(), pa.string_view()]
    columns = [pa.array(column.to_pylist(), kind) for column, kind in zip(made.columns, kinds, strict=True)]
    return pa.table(columns, names=made.column_names)


def hdf5(path: Path, images: str = "images", labels: Any = LABELS, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset(images, data=np.stack(PIXELS), **options)
        file["y" if images == "x" else "labels"] = np.array(labels)
    return path


def npy(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


def npy_pair(path: Path) -> Path:
    path.mkdir()
    npy(path / "images.npy", np.stack(PIXELS))
    npy(path / "labels.npy", np.array(LABELS))
    return path


def npz(path: Path, save: Any, labels: Any = LABELS) -> Path:
    save(path, x_train=np.stack(PIXELS), y_train=np.array(labels))
    return path


def idx(path: Path, opened: Any = open, suffix: str = "") -> Path:
    path.mkdir()
    grey = np.stack(PIXELS)[..., 0].copy()
    for name, array in (("images-idx3", grey), ("labels-idx1", np.array(LABELS, np.uint8))):
        with opened(path / f"t10k-{name}-ubyte{suffix}", "wb") as file:
            file.write(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())
    return path


def tfrecords(path: Path) -> Path:
    from shardwright import ArraySource, export

    return export(ArraySource(np.stack(PIXELS), labels=LABELS), path, "tfrecord")


def zipped_records(path: Path) -> Path:
    (plain,) = tfrecords(path / "records").iterdir()
    (path / "a.tfrecord.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return path / "a.tfrecord.gz"


# What each kind is: the file, and what happens to it: "both" take it, or it is only "converted", or "neither" does.
KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "webdataset": (lambda p: tar(p / "a.tar", samples("png", "cls")), "both"),
    "webdataset, all kinds": (
        lambda p: tar(p / "a.tar", samples("png", "cls", "json", "txt", "seg.png", "bin")),
        "both",
    ),
    "webdataset, JPEG 2000": (lambda p: tar(p / "a.tar", samples("jp2", "cls")), "both"),
    "webdataset, no image": (lambda p: tar(p / "a.tar", samples("cls", "txt")), "both"),
    "webdataset, a folder of tars": (lambda p: two_tars(p / "tars"), "both"),
    "webdataset in a zip, stored": (lambda p: zipped(p / "a.zip", samples("png", "cls"), 0), "both"),
    "webdataset in a zip, deflated": (lambda p: zipped(p / "a.zip", samples("png", "cls"), 8), "converted"),
    "webdataset, gzip": (
        lambda p: (
            folder(p, [("a.tar.gz", gzip.compress(tar(p / "a", samples("png", "cls")).read_bytes()))]) / "a.tar.gz"
        ),
        "neither",
    ),
    "tar of class folders": (lambda p: tar(p / "a.tar", in_classes()), "both"),
    "tar of class folders in one": (lambda p: tar(p / "a.tar", in_classes("all/")), "both"),
    "tar of tars": (lambda p: tar_of_tars(p / "a.tar"), "both"),
    "tar of images": (lambda p: tar(p / "a.tar", samples("png")), "both"),
    "tar of no image": (lambda p: tar(p / "a.tar", [("README.md", b"#")]), "neither"),
    "tar, damaged": (
        lambda p: folder(p, [("a.tar", tar(p / "b", samples("png")).read_bytes()[:700])]) / "a.tar",
        "neither",
    ),
    "zip of class folders, stored": (lambda p: zipped(p / "a.zip", in_classes(), 0), "both"),
    "zip of class folders, deflated": (lambda p: zipped(p / "a.zip", in_classes(), 8), "converted"),
    "class folders": (lambda p: folder(p / "images", in_classes()), "converted"),
    "folder of images": (lambda p: folder(p / "images", samples("png")), "converted"),
    "Parquet, uncompressed": (lambda p: parquet(p / "a.parquet", compression="none"), "both"),
    "Parquet, snappy": (lambda p: parquet(p / "a.parquet", compression="snappy"), "converted"),
    "Parquet, gzip": (lambda p: parquet(p / "a.parquet", compression="gzip"), "converted"),
    "Parquet, zstd": (lambda p: parquet(p / "a.parquet", compression="zstd"), "converted"),
    "Parquet, dictionary": (lambda p: parquet(p / "a.parquet", compression="none", use_dictionary=True), "converted"),
    "Parquet, one column compressed": (
        lambda p: parquet(
            p / "a.parquet",
            table(caption=["text"] * COUNT),
            compression={"image.bytes": "none", "image.path": "none", "label": "none", "caption": "snappy"},
        ),
        "both",
    ),
    "Parquet by DuckDB": (lambda p: by_duckdb(p / "a.parquet"), "converted"),
    "Parquet by Polars": (lambda p: by_polars(p / "a.parquet"), "converted"),
    "Arrow file": (lambda p: arrow(p / "a.arrow"), "both"),
    "Arrow file, lz4": (lambda p: arrow(p / "a.arrow", codec="lz4"), "converted"),
    "Arrow file, zstd": (lambda p: arrow(p / "a.arrow", codec="zstd"), "converted"),
    "Arrow stream": (lambda p: arrow(p / "a.arrow", stream=True), "both"),
    "Arrow stream, zstd": (lambda p: arrow(p / "a.arrow", codec="zstd", stream=True), "converted"),
    "Arrow, view types": (lambda p: arrow(p / "a.arrow", views()), "converted"),
    "HDF5": (lambda p: hdf5(p / "a.h5"), "both"),
    "HDF5, gzip": (lambda p: hdf5(p / "a.h5", chunks=(2, 5, 7, 3), compression="gzip"), "converted"),
    "HDF5, lzf": (lambda p: hdf5(p / "a.h5", chunks=(2, 5, 7, 3), compression="lzf"), "converted"),
    "HDF5, labels as text": (lambda p: hdf5(p / "a.h5", "x", [NAMES[n].encode() for n in LABELS]), "both"),
    "npy": (lambda p: npy(p / "a.npy", np.stack(PIXELS)), "both"),
    "npy, other numbers": (lambda p: npy(p / "a.npy", np.stack(PIXELS).astype(np.float32)), "both"),
    "npy, Fortran order": (lambda p: npy(p / "a.npy", np.asfortranarray(np.stack(PIXELS))), "converted"),
    "npy of objects": (lambda p: npy(p / "a.npy", np.array([{}], object)), "neither"),
    "npy pair in a folder": (lambda p: npy_pair(p / "arrays"), "both"),
    "npy pair, one named": (lambda p: npy_pair(p / "arrays") / "images.npy", "both"),
    "npz": (lambda p: npz(p / "a.npz", np.savez), "both"),
    "npz, labels as text": (lambda p: npz(p / "a.npz", np.savez, [NAMES[n] for n in LABELS]), "both"),
    "npz, compressed": (lambda p: npz(p / "a.npz", np.savez_compressed), "converted"),
    "IDX pair": (lambda p: idx(p / "mnist"), "both"),
    "IDX pair, gzip": (lambda p: idx(p / "mnist", gzip.open, ".gz"), "converted"),
    "TFRecord": (lambda p: tfrecords(p / "records"), "both"),
    "TFRecord, gzip": (zipped_records, "converted"),
    "text": (lambda p: folder(p, [("a.txt", b"text")]) / "a.txt", "neither"),
    "nothing there": (lambda p: p / "none.tar", "neither"),
}


def converted(path: Any, out: Path) -> Any:
    ParquetConverter(path, out, num_workers=0, progress=False).convert()
    return open_reader(out, output="numpy", check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_converting_and_indexing_see_the_same(kind: str, tmp_path: Path) -> None:
    make, outcome = KINDS[kind]
    path = make(tmp_path)
    if outcome == "neither":
        for action in (lambda: converted(path, tmp_path / "out"), lambda: index_files(path, tmp_path / "index")):
            with pytest.raises(ShardwrightError) as told:
                action()
            assert str(path.name) in str(told.value)
        return
    wanted = converted(path, tmp_path / "out")
    if outcome == "converted":
        with pytest.raises(ShardwrightError, match="convert") as told:
            index_files(path, tmp_path / "index")
        follow(str(told.value), wanted, tmp_path / "followed")
        return
    manifest = index_files(path, tmp_path / "index")
    files = path if path.is_dir() else path.parent
    found = open_reader(tmp_path / "index", data_path=files, output="numpy", check=True)
    same_samples(wanted, found)
    missing = [f.name for f in wanted.fields if f.name not in {f.name for f in found.fields}]
    assert all(any(name in reason for reason in manifest.ignored) for name in missing)
    assert manifest.ignored.items() >= wanted.manifest.ignored.items()
    assert set(manifest.ignored) - set(wanted.manifest.ignored) == {
        r for r in manifest.ignored if any(m in r for m in missing)
    }
    report = verify(tmp_path / "index", data_path=files)
    assert report.ok, report.problems


def same_samples(wanted: Any, found: Any) -> None:
    kinds = {f.name: (f.kind, f.names) for f in wanted.fields}
    seen = {f.name: (f.kind, f.names) for f in found.fields}
    assert seen.items() <= kinds.items()
    assert any(not f.is_scalar for f in found.fields)
    assert wanted.classes == found.classes
    assert len(wanted) == len(found)
    for name in seen:
        for one, other in zip(wanted.read_values(range(len(wanted)), [name])[name],
                              found.read_values(range(len(found)), [name])[name], strict=True):  # fmt: skip
            assert np.array_equal(np.asarray(one), np.asarray(other)), name


def follow(message: str, wanted: Any, out: Path) -> None:
    """Run the call that an error gives, and compare what comes of it."""
    call = re.search(r"ParquetConverter\(input_data='([^']*)', output_path=\.\.\.\)\.convert\(\)", message)
    assert call is not None, message
    same_samples(wanted, converted(call[1], out))


@pytest.mark.parametrize("kind", [kind for kind, (_, outcome) in KINDS.items() if outcome == "both"])
def test_places_and_samples_of_a_source_agree(kind: str, tmp_path: Path) -> None:
    source = open_source(KINDS[kind][0](tmp_path))
    places = source.places()
    assert sum(part.count for part in places) == len(source)
    sample = source[0]
    assert {f.name for f in places[0].fields} <= sample.keys()
    number = 0
    for part in places:
        for row in range(part.count):
            sample = source[number]
            for name, values in part.scalars.items():
                assert sample[name] == values[row]
            for name, ranges in part.ranges.items():
                data = ranges.path.read_bytes()[ranges.offsets[row] :][: ranges.lengths[row]]
                value = sample[name]
                if hasattr(value, "data") and hasattr(value, "name"):
                    assert value.data == data
                elif isinstance(value, np.ndarray):
                    assert value.tobytes() == data or value.astype(value.dtype.newbyteorder("<")).tobytes() == data
                elif isinstance(value, (dict, list)):
                    assert json.loads(data) == value
                else:
                    assert (value.encode() if isinstance(value, str) else value) == data
            number += 1
