"""Read shards with nothing but the library of their own ecosystem."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Columns = dict[str, list[Any]]


def read_shards(kind: str, files: list[Path]) -> Columns:
    """One list per field over all shards: the bytes of images, arrays, and plain values."""
    columns: Columns = {}
    for name, values in (item for file in files for item in _READ[kind](file).items()):
        columns.setdefault(name, []).extend(values)
    return columns


def _memmap(path: Path) -> Columns:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    assert isinstance(array, np.memmap)
    return {path.name.split(".")[1]: list(np.array(array))}


def _hdf5(path: Path) -> Columns:
    with h5py.File(path, "r") as file:
        return {name: list(file[name][()]) for name in file}


def _table(table: pa.Table) -> Columns:
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return {name: [v["bytes"] if isinstance(v, dict) else v for v in values] for name, values in columns.items()}


def _parquet(path: Path) -> Columns:
    return _table(pq.ParquetFile(path, page_checksum_verification=True).read())


def _arrow(path: Path) -> Columns:
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate(full=True)
    return _table(table)


def _tar(path: Path) -> Columns:
    columns: Columns = {}
    with tarfile.open(path, "r:") as file:
        for member in file:
            _, _, extension = member.name.partition(".")
            content = file.extractfile(member)
            assert content is not None
            name = {"cls": "label"}.get(extension, extension.split(".")[0] if "." in extension else "image")
            columns.setdefault(name, []).append(content.read())
    return {name: [int(v) for v in values] if name == "label" else values for name, values in columns.items()}


_READ: dict[str, Callable[[Path], Columns]] = {
    "hdf5": _hdf5,
    "memmap": _memmap,
    "parquet": _parquet,
    "pyarrow_ipc": _arrow,
    "tar": _tar,
}
