"""The same samples in files of other programs, and the check that a file is refused."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright.base.errors import ShardwrightError
from shardwright.base.index_files import index_files
from tests.conformance.tools import encoded, picture

COUNT = 12
PNGS = [encoded(picture(n, size=(6, 7))) for n in range(COUNT)]
PIXELS = np.stack([np.asarray(picture(n, size=(6, 7))) for n in range(COUNT)])
LABELS = [n % 3 for n in range(COUNT)]
NAMES = ["cat", "dog", "eel"]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
foreign = pytest.mark.filterwarnings("ignore")  # the habits of other libraries


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and modification time of the files right in a folder."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return {p.name: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files}


def table(**more: Any) -> pa.Table:
    images = [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(PNGS)]
    return pa.table({"image": pa.array(images, IMAGE), "label": LABELS, **more})


def write_tar(path: Path, members: list[tuple[str, bytes]], form: int = tarfile.GNU_FORMAT, **header: Any) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in header.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    return path


# Each writes COUNT samples of PNGS (or PIXELS) and LABELS to a folder, with the library named.
def by_webdataset(folder: Path) -> None:
    import webdataset

    with webdataset.ShardWriter(str(folder / "train-%06d.tar"), maxcount=5, verbose=0) as writer:
        for n in range(COUNT):
            sample = {"png": PNGS[n], "cls": LABELS[n], "json": {"n": n}, "Caption.txt": f"number {n}"}
            writer.write({"__key__": f"some/where/{n:06d}", **sample})


def by_tarfile(form: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        long = "a/" + "very-long-name/" * 12  # more than USTAR's 100 bytes, so each format has its own way
        prefix = long if form != tarfile.USTAR_FORMAT else "a/b/"
        members = [
            (f"{prefix}{n}.{e}", d) for n in range(COUNT) for e, d in (("png", PNGS[n]), ("cls", b"%d" % LABELS[n]))
        ]
        write_tar(folder / "train.tar", members, form, **({"mtime": 1.5} if form == tarfile.PAX_FORMAT else {}))

    return write


def hugging_face() -> Any:
    pytest.importorskip("datasets.load", reason="Hugging Face's datasets is not installed")
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets as hf

    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=NAMES), "weight": hf.Value("float32")})
    rows = {"image": [{"bytes": d, "path": None} for d in PNGS], "label": LABELS, "weight": [0.5] * COUNT}
    return hf.Dataset.from_dict(rows, features=features)


def by_hf_parquet(folder: Path) -> None:
    hugging_face().to_parquet(str(folder / "train-00000-of-00001.parquet"))


def by_hf_arrow(folder: Path) -> None:
    hugging_face().save_to_disk(str(folder), num_shards=2)


def by_pyarrow_parquet(folder: Path) -> None:
    pq.write_table(table(), folder / "train.parquet", compression="none", use_dictionary=["label"], row_group_size=5)


def by_pyarrow_file(folder: Path) -> None:
    with pa.ipc.new_file(str(folder / "train.arrow"), table().schema) as writer:
        writer.write_table(table(), max_chunksize=5)


def by_pyarrow_large(folder: Path) -> None:
    columns = {"image": pa.array(PNGS, pa.large_binary()), "label": pa.array(LABELS, pa.int8())}
    with pa.ipc.new_stream(str(folder / "train.arrow"), pa.table(columns).schema) as writer:
        writer.write_table(pa.table(columns), max_chunksize=5)


def by_numpy(folder: Path) -> None:
    for part, rows in enumerate((slice(0, 5), slice(5, None))):
        np.save(folder / f"images-{part:05d}.npy", PIXELS[rows])
        np.save(folder / f"labels-{part:05d}.npy", np.array(LABELS[rows], np.uint8))


def by_h5py(folder: Path) -> None:
    with h5py.File(folder / "train.hdf5", "w") as file:
        file["images"], file["labels"] = PIXELS, LABELS
        file["labels"].attrs["class_names"] = np.array(NAMES, "S")


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "webdataset": ("tar", by_webdataset),
    "tarfile GNU": ("tar", by_tarfile(tarfile.GNU_FORMAT)),
    "tarfile PAX": ("tar", by_tarfile(tarfile.PAX_FORMAT)),
    "tarfile USTAR": ("tar", by_tarfile(tarfile.USTAR_FORMAT)),
    "Hugging Face Parquet": ("parquet", by_hf_parquet),
    "Hugging Face save_to_disk": ("pyarrow_ipc", by_hf_arrow),
    "pyarrow Parquet": ("parquet", by_pyarrow_parquet),
    "pyarrow IPC file": ("pyarrow_ipc", by_pyarrow_file),
    "pyarrow IPC stream, large_binary": ("pyarrow_ipc", by_pyarrow_large),
    "numpy": ("memmap", by_numpy),
    "h5py": ("hdf5", by_h5py),
}


def refused(path: Path, error: type[ShardwrightError], match: str) -> None:
    with pytest.raises(error, match=match):
        index_files(path)
    assert not (path.parent / "metadata").exists()
