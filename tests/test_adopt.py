"""Files of other programs, indexed where they lie and read like converted splits."""

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets.base.adopt import index_files
from datasets.base.commit import SplitPaths
from datasets.base.errors import (
    ConfigError,
    CorruptShardError,
    IncompleteDatasetError,
    InputError,
    OutputExistsError,
    ShardwrightError,
    UnsafeDataError,
)
from datasets.base.formats import open_reader
from datasets.base.manifest import Manifest, Shard, StoredFile
from datasets.base.merge import merge
from datasets.base.published import load_manifest
from datasets.base.verify import verify
from datasets.cli.main import main
from datasets.memmap.memmap_converter import MemmapConverter
from datasets.tar.tar_converter import TarConverter
from tests.conformance.tools import encoded, picture
from utils.loader import ThreadedLoader

ROOT = Path(__file__).resolve().parents[1]
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


@foreign
@pytest.mark.parametrize("writer", WRITERS)
def test_files_of_other_programs_are_read_and_stay_as_they_are(writer: str, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    write(tmp_path)
    before = state(tmp_path)
    manifest = index_files(tmp_path)
    assert (manifest.format, manifest.num_samples, manifest.data_dir) == (name, COUNT, ".")
    assert state(tmp_path) == before
    reader = open_reader(tmp_path)
    assert reader.targets.tolist() == LABELS
    order = random.Random(0).sample(range(COUNT), COUNT)
    for n, sample in zip(order, reader.__getitems__(order), strict=True):
        image = sample[0] if isinstance(sample, tuple) else sample["image"]
        assert np.array_equal(np.asarray(image), PIXELS[n])
    if manifest.fields[0].shape is None:
        found = open_reader(tmp_path).read_columns(range(COUNT))["image"]
        assert list(map(bytes, found)) == PNGS
    assert verify(tmp_path).problems == ()


@foreign
def test_what_is_beside_the_images_is_read_too(tmp_path: Path) -> None:
    by_webdataset(tmp_path)
    index_files(tmp_path)
    sample = open_reader(tmp_path)[7]
    assert (sample["json"], sample["caption"]) == ({"n": 7}, "number 7")
    (tmp_path / "hf").mkdir()
    by_hf_parquet(tmp_path / "hf")
    index_files(tmp_path / "hf")
    reader = open_reader(tmp_path / "hf")
    assert (reader.classes, reader[3]["weight"]) == (NAMES, 0.5)
    (tmp_path / "h5").mkdir()
    by_h5py(tmp_path / "h5")
    index_files(tmp_path / "h5" / "train.hdf5")
    assert open_reader(tmp_path / "h5").classes == NAMES


def test_an_index_elsewhere_leaves_the_folder_of_the_files_alone(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "files").mkdir()
    by_numpy(tmp_path / "files")
    before = sorted(os.listdir(tmp_path / "files"))
    files, index = str(tmp_path / "files"), str(tmp_path / "index")
    assert main(["index", files, "--metadata-dir", index, "--split", "val"]) == 0
    assert "12 in 4 files" in capsys.readouterr().out
    assert sorted(os.listdir(files)) == before
    with pytest.raises(IncompleteDatasetError, match="data_path="):
        open_reader(index, split="val")
    reader = open_reader(index, split="val", data_path=files)
    assert np.array_equal(np.asarray(reader[11][0]), PIXELS[11])
    assert main(["verify", index]) == 1
    assert main(["verify", index, "--data-path", files]) == 0
    assert main(["info", index, "--data-path", files]) == 0
    assert "memmap" in capsys.readouterr().out
    arguments = ["--format", "hdf5", "--shape", "6x7", "--input-split", "val", "--input-data-path", files]
    assert main(["convert", index, str(tmp_path / "h5"), "--num-workers", "0", *arguments]) == 0
    assert np.array_equal(np.asarray(open_reader(tmp_path / "h5")[4][0]), PIXELS[4])


@foreign
def test_everything_that_reads_converted_splits_reads_these(tmp_path: Path) -> None:
    by_tarfile(tarfile.PAX_FORMAT)(tmp_path)
    index_files(tmp_path)
    reader = open_reader(tmp_path, output="numpy")
    batches = list(ThreadedLoader(reader, batch_size=5, num_threads=2))
    assert [int(label) for _, labels in batches for label in labels] == LABELS
    MemmapConverter(tmp_path, tmp_path.parent / f"{tmp_path.name}-px", shape=(6, 7), num_workers=0).convert()
    pixels = open_reader(f"{tmp_path}-px", output="numpy")
    assert np.array_equal(np.stack([image for image, _ in pixels]), PIXELS)
    TarConverter(reader.select([3, 1]), tmp_path.parent / f"{tmp_path.name}-two", num_workers=0).convert()
    assert open_reader(f"{tmp_path}-two", output="bytes")[0][0] == PNGS[3]
    with pytest.raises(ConfigError, match="only indexes files"):
        merge([reader, reader], tmp_path / "merged")


def test_a_changed_file_is_damage(tmp_path: Path) -> None:
    by_pyarrow_file(tmp_path)
    index_files(tmp_path)
    path = tmp_path / "train.arrow"
    data = bytearray(path.read_bytes())
    at = data.index(PNGS[5]) + 40
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptShardError, match="sample 5"):
        open_reader(tmp_path)[5]
    assert [p.sample for p in verify(tmp_path).problems] == [None, 5]
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptShardError, match="bytes"):
        open_reader(tmp_path)


def test_verify_finds_an_index_that_is_not_that_of_the_files(tmp_path: Path) -> None:
    by_pyarrow_parquet(tmp_path)
    index_files(tmp_path)
    other = table().set_column(1, "label", pa.array([2 - n for n in LABELS]))
    pq.write_table(other, tmp_path / "train.parquet", compression="none", use_dictionary=["label"], row_group_size=5)
    problems = [str(problem) for problem in verify(tmp_path).problems]
    assert problems
    assert all("train.parquet" in problem for problem in problems)


# Which files.


def test_files_called_after_the_split_are_preferred_and_others_are_told(tmp_path: Path) -> None:
    for name in ("train-0", "train-1", "val-0"):
        write_tar(tmp_path / f"{name}.tar", [("0.png", PNGS[0])])
    (tmp_path / "README.md").write_text("text")
    manifest = index_files(tmp_path)
    assert [s.files[0].name for s in manifest.shards] == ["train-0.tar", "train-1.tar"]
    assert manifest.ignored == {"file of another kind": 1, "file that is not called train": 1}
    assert index_files(tmp_path / "v*.tar", split="val").num_samples == 1
    assert len(open_reader(tmp_path, split="val")) == 1
    assert verify(tmp_path).ok
    with pytest.raises(OutputExistsError, match="choose another"):
        index_files(tmp_path)


def test_names_that_are_odd_but_safe_are_kept(tmp_path: Path) -> None:
    write_tar(tmp_path / "ünï code (1).v2.tar", [("0.png", PNGS[0])])
    index_files(tmp_path)
    assert np.array_equal(np.asarray(open_reader(tmp_path)[0]), PIXELS[0])


def test_a_wrong_path_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    for path, error in ((tmp_path, InputError), (tmp_path / "none.tar", InputError), (tmp_path / "a.txt", ConfigError)):
        with pytest.raises(error):
            index_files(path)
    write_tar(tmp_path / "a.tar", [("0.png", PNGS[0])])
    np.save(tmp_path / "b.npy", PIXELS)
    with pytest.raises(ConfigError, match="several formats"):
        index_files(tmp_path)
    with pytest.raises(ConfigError, match="letters"):
        index_files(tmp_path, split="../x")
    (tmp_path / "evil\u202egpj.tar").write_bytes((tmp_path / "a.tar").read_bytes())
    with pytest.raises(UnsafeDataError, match="rename"):
        index_files(tmp_path, format="tar")
    assert not (tmp_path / "metadata").exists()


# What cannot be read in place, and what is dangerous. FAULTS 112 to 123.


def refused(path: Path, error: type[ShardwrightError], match: str) -> None:
    with pytest.raises(error, match=match):
        index_files(path)
    assert not (path.parent / "metadata").exists()


@pytest.mark.parametrize(("options", "why"), [({"compression": "snappy"}, "snappy"), ({}, "dictionary")])
def test_parquet_that_is_compressed_or_encoded_says_to_convert(
    options: dict[str, Any], why: str, tmp_path: Path
) -> None:
    """Faults 119, 120: nothing is inflated."""
    options = {"compression": "none", "use_dictionary": True} | options
    pq.write_table(table(), tmp_path / "a.parquet", **options)
    refused(tmp_path / "a.parquet", InputError, f"(?s){why}.*convert it")


def test_columns_that_are_compressed_are_left_out_and_told(tmp_path: Path) -> None:
    codecs = {"image.bytes": "none", "image.path": "none", "label": "gzip", "text": "snappy"}
    path = tmp_path / "a.parquet"
    pq.write_table(table(text=["a"] * COUNT), path, compression=codecs, use_dictionary=False)
    manifest = index_files(path)
    assert manifest.ignored == {"column text: compressed (snappy)": COUNT}
    assert open_reader(tmp_path).targets.tolist() == LABELS


def test_missing_values_are_told(tmp_path: Path) -> None:
    images = pa.array([{"bytes": PNGS[0], "path": None}, {"bytes": None, "path": "far/away.png"}], IMAGE)
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", compression="none", use_dictionary=False)
    refused(tmp_path / "a.parquet", InputError, "1 values are missing")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), pa.schema([("image", IMAGE)])) as writer:
        writer.write_table(pa.table({"image": images}))
    refused(tmp_path / "a.arrow", InputError, "1 values are missing")


def test_arrow_that_is_compressed_says_to_convert(tmp_path: Path) -> None:
    """Fault 120: nothing is inflated."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table().schema, options=options) as writer:
        writer.write_table(table())
    refused(tmp_path / "a.arrow", InputError, "(?s)compressed.*convert it")


def test_arrow_columns_of_other_types_are_left_out_and_told(tmp_path: Path) -> None:
    """Fault 119: dictionaries, nested and extension types; none of them is built."""
    numbers = pa.array([[n, n + 1] for n in range(COUNT)], pa.list_(pa.int32(), 2))
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int32(), [2]), numbers)
    words = pa.array(["a"] * COUNT).dictionary_encode()
    nested = pa.array([[{"a": n}] for n in range(COUNT)])
    odd = table(words=words, nested=nested, tensors=tensors)
    with pa.ipc.new_file(tmp_path / "a.arrow", odd.schema) as writer:
        writer.write_table(odd)
    manifest = index_files(tmp_path)
    assert {f.name for f in manifest.fields} >= {"image", "label"}
    for name in ("words", "nested"):
        assert any(name in reason for reason in manifest.ignored), manifest.ignored
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


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_regular_members_are_samples(kind: bytes, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.png", PNGS[0])])
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("1.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    manifest = index_files(path)
    assert (manifest.num_samples, manifest.ignored) == (1, {"not a regular file": 1})


def test_members_that_would_be_unpickled_elsewhere_are_bytes(tmp_path: Path) -> None:
    members = [("0.png", PNGS[0]), ("0.pyd", b"cos\nabort\n(tR."), ("0.txt", b"\xff"), ("0.json", b"[" * 10**5)]
    index_files(write_tar(tmp_path / "a.tar", members))
    sample = open_reader(tmp_path)[0]
    assert (sample["pyd"], sample["txt"]) == (members[1][1], b"\xff")
    assert sample["json"] == members[3][1]


def patched(path: Path, at: int, content: bytes) -> Path:
    """Change a tar header, and make its checksum fit."""
    data = bytearray(path.read_bytes())
    start = at // 512 * 512
    data[at : at + len(content)] = content
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"g"])
@pytest.mark.parametrize("size", [b"\xff" * 12, b"\xff" * 10 + b"\xfe\x00", b"\x80" + b"\x7f" * 11, b"77777777777\0"])
def test_forged_sizes_end_in_an_error(kind: bytes, size: bytes, tmp_path: Path) -> None:
    """Fault 116."""
    path = write_tar(tmp_path / "a.tar", [("0.png", PNGS[0]), ("1.png", PNGS[1])])
    second = 512 + -(-len(PNGS[0]) // 512) * 512
    patched(path, second + 156, kind)
    patched(path, second + 124, size)
    with pytest.raises((InputError, UnsafeDataError, CorruptShardError)):
        index_files(path)


def test_tar_that_is_damaged_joined_compressed_or_no_webdataset_is_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.png", PNGS[0]), ("1.png", PNGS[1])])
    good = path.read_bytes()
    second = 512 + -(-len(PNGS[0]) // 512) * 512
    for data, match in (
        (good[: second + 3] + b"!" + good[second + 4 :], "damaged there"),
        (good + good, "joined of several"),
        (good[:700], "damaged"),
        (b"\x1f\x8b" + good, "gunzip"),
        (b"", "damaged"),
    ):
        path.write_bytes(data)
        refused(path, InputError, match)
    refused(write_tar(path, [("0.png", PNGS[0]), ("0.png", PNGS[0])]), InputError, "two members")
    refused(write_tar(path, [("0.png", PNGS[0]), ("README.md", b"#")]), InputError, "nothing is in every one")


@pytest.mark.parametrize("what", ["external link", "soft link", "external storage", "virtual"])
def test_hdf5_that_leads_out_of_the_file_is_refused(what: str, tmp_path: Path) -> None:
    """Fault 117."""
    (tmp_path / "secret").write_bytes(bytes(1000))
    with h5py.File(tmp_path / "other.hdf", "w") as file:
        file["images"] = PIXELS
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = PIXELS
        if what == "external link":
            file["x"] = h5py.ExternalLink("other.hdf", "/images")
        elif what == "soft link":
            file["x"] = h5py.SoftLink("/images")
        elif what == "external storage":
            file.create_dataset("x", (COUNT, 5), "u1", external=[(str(tmp_path / "secret"), 0, 60)])
        else:
            layout = h5py.VirtualLayout(PIXELS.shape, "u1")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf"), "images", PIXELS.shape)
            file.create_virtual_dataset("x", layout)
    refused(tmp_path / "a.h5", UnsafeDataError, "a link|other files")


def test_hdf5_in_chunks_says_to_convert_and_circles_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=PIXELS, compression="gzip")
    refused(tmp_path / "a.h5", InputError, "(?s)chunks.*convert it")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["images"], file["again"], file["round"] = PIXELS, file["/"], file["/"]
    assert index_files(tmp_path / "b.h5").num_samples == COUNT


def test_hdf5_class_names_in_several_attributes_are_read_and_others_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["labels"], file["kinds"] = PIXELS, LABELS, LABELS
        file["labels"].attrs["class_names"] = np.array(NAMES[:2], "S")
        file["labels"].attrs["class_names_1"] = np.array(NAMES[2:], "S")
        file["kinds"].attrs["class_names"] = NAMES  # each of its own length
    manifest = index_files(tmp_path)
    assert open_reader(tmp_path).classes == NAMES
    assert manifest.ignored == {"class names of dataset kinds: not strings of one length": COUNT}


def test_npy_that_cannot_be_read_in_place_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array, error, match in (
        (np.array([{}], object), UnsafeDataError, "never unpickled"),
        (np.asfortranarray(PIXELS), InputError, "Fortran"),
        (PIXELS.astype(">u2"), InputError, "convert"),
        (np.float32(1), InputError, "first axis"),
        (np.array(["cat"]), InputError, "convert"),
    ):
        np.save(path, array, allow_pickle=True)
        refused(path, error, match)
    np.save(path, PIXELS)
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, InputError, "cut")
    np.save(tmp_path / "images.npy", PIXELS)
    np.save(tmp_path / "labels.npy", LABELS[:-1])
    refused(tmp_path / "images.npy", InputError, "another number")


def test_a_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    by_numpy(tmp_path)
    index_files(tmp_path)
    paths = SplitPaths(tmp_path, "train")
    good = load_manifest(paths)
    values = {f: getattr(good, f) for f in Manifest.__dataclass_fields__}
    for data_dir in ("..", "/etc", "metadata", "", None):
        paths.manifest.write_bytes(Manifest(**{**values, "data_dir": data_dir}).to_bytes())
        with pytest.raises(UnsafeDataError, match="data_dir"):
            load_manifest(paths)
    for name in ("../x", "a/b", "a\\b", ".hidden", "..", "C:x", "a\0", "a\nb", "", "x" * 256):
        with pytest.raises(UnsafeDataError, match="safe file name"):
            StoredFile(name, 1, "0" * 16)
    odd = (Shard(1, (StoredFile("a b.npy", 1, "0" * 16),)),)
    paths.manifest.write_bytes(Manifest(**{**values, "data_dir": "data", "shards": odd}).to_bytes())
    with pytest.raises(UnsafeDataError, match="this library writes"):
        load_manifest(paths)


# Random damage: only errors of this library, no hang, no crash. In a process of its own.

FUZZ = """
import os, random, shutil, sys
from pathlib import Path
from datasets.base.adopt import index_files
from datasets.base.errors import ShardwrightError
from datasets.base.formats import open_reader

os.fsync = lambda fd: None
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
path = next(p for p in folder.iterdir() if p.is_file())
good, rng, refused = path.read_bytes(), random.Random(path.name), 0
for _ in range(rounds):
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 3))):
        edge = rng.randrange(min(len(data), 2000))
        where = rng.choice((rng.randrange(len(data)), edge, -1 - edge))
        data[where] = rng.choice((data[where] ^ 1 << rng.randrange(8), 0, 255))
    path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)
    shutil.rmtree(folder / "metadata", ignore_errors=True)
    try:
        index_files(path)
        reader = open_reader(folder, output="numpy")
    except ShardwrightError:
        refused += 1
        continue
    for number in range(len(reader)):
        try:
            reader[number]
        except ShardwrightError:
            refused += 1
print(refused)
"""


@foreign
@pytest.mark.parametrize(
    "writer", ["webdataset", "tarfile PAX", "pyarrow Parquet", "pyarrow IPC file", "numpy", "h5py"]
)
def test_random_damage_ends_in_errors_of_this_library(writer: str, tmp_path: Path) -> None:
    """Fault 126: and every run ends."""
    WRITERS[writer][1](tmp_path)
    for path in sorted(tmp_path.iterdir())[1:]:  # one file is enough
        path.unlink()
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path), "60"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_the_command_says_what_was_left_out(tmp_path: Path, capsys: Any) -> None:
    write_tar(tmp_path / "a.tar", [("0.png", PNGS[0]), ("0.txt", b"x"), ("1.png", b"no image")])
    assert main(["index", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "left out member .txt: not in every sample: 1" in printed
    assert "damaged  image: 1" in printed
    assert json.loads((tmp_path / "metadata" / "train.json").read_text())["data_dir"] == "."
    with pytest.raises(InputError):
        open_reader(tmp_path)[1]
    assert main(["index", str(tmp_path)]) == 2
