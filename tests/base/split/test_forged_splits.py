"""Splits with hashes that fit and shards that are not ours: of another schema, with links, plug-ins, objects."""

import base64
import contextlib
import ctypes
import os
import pickle
import struct
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright.arrays.source import ArraySource
from shardwright.base.errors import CorruptShardError, UnsafeDataError
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.verify import verify
from tests.conformance.tools import Store, numbered, same_as_numbered
from tests.forged import sign

COUNT = 4
UNKNOWN_FILTER = 305  # nobody registered it
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class Canary:
    """Shows whether it was unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("unpickled"),))


# Each changes one shard; the name says how.


def of_table(change: Callable[[pa.Table], pa.Table]) -> Callable[[str, Path], None]:
    def forge(name: str, path: Path) -> None:
        if name == "parquet":
            pq.write_table(change(pq.read_table(path)), path, compression="none", use_dictionary=False)
            return
        with pa.OSFile(str(path)) as file:
            table = change(pa.ipc.open_file(file).read_all())
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)

    return forge


def with_column(name: str, make: Callable[[Any], Any]) -> Callable[[str, Path], None]:
    return of_table(lambda table: table.set_column(table.column_names.index(name), name, make(table.column(name))))


def as_words(column: Any) -> Any:
    return pa.array([f"{value}" for value in column.to_pylist()]).dictionary_encode()


def as_lists(column: Any) -> Any:
    return pa.array([[value] for value in column.to_pylist()])


def as_extension(column: Any) -> Any:
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * len(column), pa.binary(16)))


def of_hdf5(change: Callable[[h5py.File], None]) -> Callable[[str, Path], None]:
    def forge(name: str, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file["label"]
            change(file)

    return forge


def external_storage(file: h5py.File) -> None:
    file.create_dataset("label", (COUNT,), "i8", external=[("/etc/passwd", 0, 8 * COUNT)])


def external_link(file: h5py.File) -> None:
    with h5py.File(Path(file.filename).with_name("other.hdf"), "w") as other:
        other["label"] = np.arange(COUNT)
    file["label"] = h5py.ExternalLink("other.hdf", "/label")


def plugin(file: h5py.File) -> None:
    create_with_plugin(file, "label", (COUNT,))


def create_with_plugin(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    """A dataset whose values only a plug-in could read."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(shape)
    plist.set_filter(UNKNOWN_FILTER, h5py.h5z.FLAG_OPTIONAL, ())
    kind = h5py.h5t.NATIVE_INT64 if len(shape) == 1 else h5py.h5t.NATIVE_UINT8
    dataset = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), plist)
    size = int(np.prod(shape)) * (8 if len(shape) == 1 else 1)
    dataset.write_direct_chunk((0,) * len(shape), bytes(size))


def of_npy(values: Any) -> Callable[[str, Path], None]:
    def forge(name: str, path: Path) -> None:
        np.save(path.with_name(path.name.replace(".image.npy", ".label.npy")), values, allow_pickle=True)

    return forge


def of_tar(label: bytes) -> Callable[[str, Path], None]:
    def forge(name: str, path: Path) -> None:
        content = path.read_bytes()
        at = content.index(b"000000002.cls")
        path.write_bytes(content[: at + 512] + label.ljust(512, b"\0")[:1] + content[at + 513 :])

    return forge


TABLES = {
    "dictionary": with_column("label", as_words),
    "nested": with_column("label", as_lists),
    "extension type": with_column("label", as_extension),
    "large images": with_column("image", lambda c: pa.array([v["bytes"] for v in c.to_pylist()], pa.large_binary())),
    "no label": of_table(lambda table: table.select(["image"])),
}
FORGERIES = {
    "hdf5": {
        "compound": of_hdf5(
            lambda file: file.create_dataset("label", data=np.zeros(COUNT, [("a", "i4"), ("b", "i4")]))
        ),
        "external link": of_hdf5(external_link),
        "external storage": of_hdf5(external_storage),
        "no label": of_hdf5(lambda file: None),
        "plug-in": of_hdf5(plugin),
        "soft link": of_hdf5(lambda file: file.update({"label": h5py.SoftLink("/image")})),
        "texts": of_hdf5(lambda file: file.create_dataset("label", data=["a"] * COUNT)),
    },
    "memmap": {
        "objects": of_npy(np.array([Canary()] * COUNT, object)),
        "table": of_npy(np.zeros(COUNT, [("a", "i8")])),
        "texts": of_npy(np.array(["a"] * COUNT)),
    },
    "parquet": TABLES,
    "pyarrow_ipc": TABLES,
    "tar": {"no number": of_tar(b"x")},
}


SAID = {
    "external link": "link to somewhere else",
    "external storage": "from other files",
    "plug-in": "is in chunks",
    "soft link": "link to somewhere else",
}
CASES = [(name, how) for name, ways in FORGERIES.items() for how in ways]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_a_shard_that_is_not_ours_is_a_problem_and_no_more(
    name: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Faults 117, 118, 119: `verify` tells it; a reader asks no library, and knows each value by its hash."""
    monkeypatch.chdir(tmp_path)
    store = Store(name, tmp_path)
    split = store.convert(numbered(COUNT))
    FORGERIES[name][how](name, next(path for path in store.shards(split) if ".label." not in path.name))
    sign(split)
    found = [problem for problem in verify(split).problems if problem.shard == 0]
    assert SAID.get(how, "") in str(found[0])
    reader = store.open(split, check=True)
    for number in range(COUNT):
        try:
            assert same_as_numbered([reader[number]], [number])
        except CorruptShardError:
            continue
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("name", ["parquet", "pyarrow_ipc"])
def test_the_type_of_a_column_is_never_unpickled(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fault 119: older versions of pyarrow stored Python objects as types, and made them again."""
    monkeypatch.chdir(tmp_path)
    store = Store(name, tmp_path)
    split = store.convert(numbered(COUNT))
    path = store.shards(split)[0]
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Canary())}
    kind = pa.field("label", pa.int64(), metadata=metadata)
    of_table(lambda table: table.set_column(1, kind, table.column("label").combine_chunks()))(name, path)
    stored = path.read_bytes()
    if name == "parquet":
        stored = base64.b64decode(pq.read_metadata(path).metadata[b"ARROW:schema"])
    assert b"py_extension_type" in stored
    sign(split)
    verify(split)
    index_files(path, tmp_path / "index")
    assert not Path("unpickled").exists()


def test_no_version_of_pyarrow_with_known_holes_is_accepted():
    """Fault 119."""
    needs = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [need for need in needs if need.startswith("pyarrow")] == ["pyarrow>=23.0.1"]


COLUMNS = {
    "dictionary": pa.array(["a"] * COUNT).dictionary_encode(),
    "extension": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * COUNT, pa.binary(16))),
    "list": pa.array([[1, 2]] * COUNT),
    "map": pa.array([[("a", 1)]] * COUNT, pa.map_(pa.string(), pa.int64())),
    "nested": pa.array([[{"a": n}] for n in range(COUNT)]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_parquet_columns_of_other_types_are_left_out_and_told(kind: str, tmp_path: Path):
    """Fault 119: as those of Arrow files are."""
    images = pa.array([bytes([n]) * 9 for n in range(COUNT)])
    table = pa.table({"image": images, "odd": COLUMNS[kind]})
    pq.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    manifest = index_files(tmp_path)
    assert [field.name for field in manifest.fields] == ["image"]
    # A column that no conversion gets either, or a field of one that is only not in place.
    assert any(reason.startswith(("column odd: type", "field odd: type")) for reason in manifest.ignored), (
        manifest.ignored
    )


@contextmanager
def opened_below(folder: Path) -> Iterator[list[str]]:
    """What is opened in a folder, the folder too, by whatever library."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(fd, bytes(folder), 0x20) > 0  # IN_OPEN
    seen: list[str] = []
    try:
        yield seen
        with contextlib.suppress(BlockingIOError):
            events = os.read(fd, 2**16)
            while events:
                length = struct.unpack_from("<12xI", events)[0]
                seen.append(events[16 : 16 + length].rstrip(b"\0").decode())
                events = events[16 + length :]
    finally:
        os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="inotify tells what a library opens")
def test_no_plug_in_of_hdf5_is_looked_for(tmp_path: Path):
    """Fault 118: whoever can write to a folder of plug-ins could run code, so none is asked for, by anybody."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        create_with_plugin(file, "images", (COUNT, 3, 3))
        create_with_plugin(file, "labels", (COUNT,))
        file["masks"] = np.zeros((COUNT, 2, 2), np.uint8)
    split = Store("hdf5", tmp_path).convert(numbered(COUNT))
    FORGERIES["hdf5"]["plug-in"]("hdf5", next((split / "data").iterdir()))
    sign(split)
    h5py.h5pl.prepend(bytes(plugins))
    try:
        with opened_below(plugins) as opened:
            for member in ("images", "labels"):
                with pytest.raises(UnsafeDataError, match=f"needs the HDF5 filter {UNKNOWN_FILTER}"):
                    ArraySource(path, member=member)
            for work in (index_files, open_source):
                with pytest.raises(UnsafeDataError, match=f"needs the HDF5 filter {UNKNOWN_FILTER}"):
                    work(path)
            with h5py.File(path, "r+") as file:
                file.move("images", "first")
                file.move("labels", "second")
            told = sorted(index_files(path, tmp_path / "index").ignored)
            assert [text.split(" needs the HDF5 filter")[0] for text in told] == ["a.h5[first]", "a.h5[second]"]
            assert "hdf5 cannot read it" in str(verify(split).problems[0])
        assert opened == []
        with opened_below(plugins) as opened, h5py.File(path) as file, pytest.raises(OSError, match=r"filter|plugin"):
            file["second"][...]
        assert opened, "the check of this test checks nothing"
    finally:
        h5py.h5pl.remove(0)
