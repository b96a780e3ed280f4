"""Arrays as sources: every file format, dtype, order and layout, labels of every kind, and bad input."""

import gzip
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from datasets.base.errors import ConfigError, InputError, LimitError, UnsafeDataError
from datasets.base.formats import get_format, open_reader
from datasets.sources import array_bytes, open_source
from datasets.sources.array_bytes import GZIP, InflatedBytes, file_bytes
from datasets.sources.array_files import member_names, open_rows
from datasets.sources.array_labels import load_labels
from datasets.sources.array_rows import MemoryRows, PackedRows, rows_of_array
from datasets.sources.arrays import ArraySource, find_layout

MNIST = Path(__file__).resolve().parents[2] / "shared/data/mnist-t10k"
IDX_CODES = {"|u1": 0x08, "|i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def values(shape=(20, 6, 5), dtype="|u1"):
    """Different values everywhere, so that a moved one is seen."""
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


def write_npy(path, array):
    np.save(path, array)


def write_npz(path, array):
    np.savez(path, x=array)


def write_npz_compressed(path, array):
    np.savez_compressed(path, x=array)


def write_h5(path, array, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("group/images", data=array, **options)


def write_h5_chunked(path, array):
    chunks = (3, *(max(1, n // 2) for n in array.shape[1:]))
    write_h5(path, array, chunks=chunks, compression="gzip", shuffle=True, fletcher32=True)


def idx_bytes(array):
    array = np.ascontiguousarray(array, array.dtype.newbyteorder(">"))
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, IDX_CODES[array.dtype.str], array.ndim, *array.shape)
    return head + array.tobytes()


def write_idx(path, array):
    path.write_bytes(idx_bytes(array))


def write_idx_gz(path, array):
    path.write_bytes(gzip.compress(idx_bytes(array)))


WRITERS = {
    "a.npy": write_npy,
    "a.npz": write_npz,
    "c.npz": write_npz_compressed,
    "a.h5": write_h5,
    "c.hdf5": write_h5_chunked,
    "a-idx3-ubyte": write_idx,
    "b-idx3-ubyte.gz": write_idx_gz,
}


def rows_equal(rows, array):
    assert rows.shape == array.shape
    assert rows.dtype == array.dtype.newbyteorder("=")
    order = [*range(len(array)), 0, len(array) - 1, 2]
    return all(rows.read(i, i + 1)[0].tobytes() == array[i].astype(rows.dtype).tobytes() for i in order)


# --- files --------------------------------------------------------------------------------


DTYPES = ["|u1", "|i1", "<i2", ">i2", ">i4", "<u2", "<f4", ">f4", ">f8", "<f8", "|b1", "<c8"]


@pytest.mark.parametrize(
    ("name", "dtype"), [(n, t) for n in WRITERS for t in DTYPES if "idx" not in n or t.replace("<", ">") in IDX_CODES]
)
def test_every_file_format_gives_every_dtype_back(tmp_path, name, dtype):
    array = values((7, 6, 5), dtype)
    WRITERS[name](tmp_path / name, array)
    source = open_source(tmp_path / name)
    assert rows_equal(source.rows, array)
    sample = source[3]["image"]
    assert sample.dtype.isnative
    np.testing.assert_array_equal(sample, array[3])
    assert len(source) == 7


@pytest.mark.parametrize("block_bytes", [1, 40, 10**6])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "c.npz"])
def test_fortran_order_is_read_in_blocks(tmp_path, monkeypatch, name, block_bytes):
    monkeypatch.setattr("datasets.sources.array_rows.BLOCK_BYTES", block_bytes)
    array = values((9, 4, 3, 2), ">i4")
    WRITERS[name](tmp_path / name, np.asfortranarray(array))
    source = ArraySource(tmp_path / name)
    assert rows_equal(source.rows, array)
    for i in (0, 8, 4, 5, 1):
        np.testing.assert_array_equal(source[i]["image"], array[i])


def test_pixels_keep_their_places():
    """Coordinates are written into the pixels; every one must be found where it says."""
    n, y, x = np.indices((6, 9, 8)).astype(np.uint8)
    source = ArraySource(np.stack([n, y, x], axis=1), layout="NCHW")
    for i in range(6):
        image = source[i]["image"]
        assert image.shape == (9, 8, 3)
        for row, column in ((0, 0), (8, 7), (3, 5)):
            assert image[row, column].tolist() == [i, row, column]


@pytest.mark.parametrize("name", WRITERS)
def test_a_source_travels_to_a_worker_process(tmp_path, name):
    array = values((50, 8, 8))
    WRITERS[name](tmp_path / name, array)
    source = open_source(tmp_path / name)
    source[30]
    packed = pickle.dumps(source)
    assert len(packed) < 2500
    assert rows_equal(pickle.loads(packed).rows, array)


def test_memory_maps_travel_as_paths_and_survive_a_cut_file(tmp_path):
    """FAULTS 101: a mapped file that is cut must not end the process."""
    array = values((400, 10, 10))
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    raw = np.memmap(tmp_path / "a.npy", mode="r", dtype="|u1", offset=128, shape=(400, 10, 10))
    for view, want in ((mapped, array), (mapped[3:20], array[3:20]), (raw, array), (raw[390:], array[390:])):
        source = ArraySource(view)
        assert isinstance(source.rows, PackedRows)
        assert len(pickle.dumps(source)) < 1500
        assert rows_equal(source.rows, want)
    os.truncate(tmp_path / "a.npy", 4096)
    with pytest.raises(InputError, match="has changed"):
        source[0]


def test_maps_that_are_not_what_the_file_holds_are_read_from_memory(tmp_path):
    np.save(tmp_path / "a.npy", values())
    changed = np.load(tmp_path / "a.npy", mmap_mode="c")
    changed[0] = 7
    strided = np.load(tmp_path / "a.npy", mmap_mode="r")[:, ::2]
    for array in (changed, strided):
        source = ArraySource(array)
        assert isinstance(source.rows, MemoryRows)
        assert rows_equal(source.rows, np.array(array))


def test_long_streams_are_read_by_position_in_bounded_memory(tmp_path, monkeypatch):
    """Marks are thinned out, and jumps back and forth give the same bytes."""
    monkeypatch.setattr(array_bytes, "_MARKS", 8)
    data = np.random.default_rng(0).integers(0, 50, 24 * 2**20, np.uint8).tobytes()
    (tmp_path / "a.gz").write_bytes(gzip.compress(data[: 2**21], 1) + gzip.compress(data[2**21 :], 1) + bytes(512))
    stream = InflatedBytes(file_bytes(tmp_path / "a.gz"), GZIP)
    stream.check(len(data))
    assert len(stream._marks) <= 8
    buffer = bytearray(3000)
    with stream.opened() as read:
        for offset in (len(data) - 3000, 5, 2**21 - 7, 2**24, 11, 11 + 3000):
            assert read(memoryview(buffer), offset) == 3000
            assert buffer == data[offset : offset + 3000]
        assert read(memoryview(buffer), len(data) - 10) == 10
        assert read(memoryview(buffer), len(data)) == 0


def test_compressed_arrays_are_never_in_memory_as_a_whole(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((4000, 128, 128), np.uint8))  # 64 MB
    tracemalloc.start()
    source = ArraySource(tmp_path / "a.npz")
    for i in range(0, 4000, 100):
        source[i]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * 2**20


@pytest.mark.parametrize("name", WRITERS)
def test_cut_files_are_refused_at_once(tmp_path, name):
    """FAULTS 100: whatever is missing at the end, nothing is read."""
    WRITERS[name](tmp_path / name, values((40, 9, 9)))
    whole = (tmp_path / name).read_bytes()
    for size in (*range(0, 200, 7), len(whole) // 2, len(whole) - 9, len(whole) - 1):
        if size >= len(whole):
            continue
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises((InputError, ConfigError), match=name):
            ArraySource(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte", "b-idx3-ubyte.gz"])
def test_more_bytes_than_the_header_says_are_refused(tmp_path, name):
    WRITERS[name](tmp_path / name, values())
    with (tmp_path / name).open("ab") as file:
        file.write(b"more" if "gz" not in name else gzip.compress(b"more"))
    with pytest.raises(InputError, match="header says"):
        ArraySource(tmp_path / name)


@pytest.mark.parametrize("name", ["c.npz", "b-idx3-ubyte.gz"])
def test_damage_in_compressed_arrays_is_found_before_anything_is_read(tmp_path, name):
    array = np.random.default_rng(0).integers(0, 255, (30, 8, 8), np.uint8)
    WRITERS[name](tmp_path / name, array)
    whole = (tmp_path / name).read_bytes()
    for place in range(200, len(whole) - 300, 61):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match=name):
            ArraySource(tmp_path / name)


def test_a_file_that_changes_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", values())
    source = ArraySource(tmp_path / "a.npy")
    os.utime(tmp_path / "a.npy", ns=(1, 1))
    with pytest.raises(InputError, match="has changed; let nobody write"):
        source[0]
    (tmp_path / "a.npy").unlink()
    with pytest.raises(InputError, match=r"a\.npy cannot be read"):
        source[0]


def header(descr="'|u1'", shape="(2, 3, 3)", fortran="False"):
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "head",
    [
        header(shape="(-1, -18)"),
        header(shape="(True, 18)"),
        header(shape="(2**62, 2**62)"),
        header(shape=f"({2**62}, {2**62})"),
        header(shape="()"),
        header(shape="3"),
        header(descr="'|V4'"),
        header(descr="[('a', '<i4')]"),
        header(descr="'<M8[s]'"),
        header(descr="'what'"),
        header(descr="(" * 2000 + ")" * 2000),
        header(fortran="7"),
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"\x93NUMPY\x09\x00" + bytes(200),
        b"\x93NUMPY\x01\x00\x10\x00" + b"\xff" * 16,
    ],
)
def test_crafted_headers_are_refused(tmp_path, head):
    """FAULTS 126: only errors of ours come out of a header, whatever it says."""
    (tmp_path / "a.npy").write_bytes(head + bytes(18))
    with pytest.raises((InputError, UnsafeDataError)):
        open_rows(tmp_path / "a.npy")


class Canary:
    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize("kind", ["npy", "npz", "memory"])
def test_objects_are_never_unpickled(tmp_path, monkeypatch, kind):
    """FAULTS 112, 113."""
    monkeypatch.chdir(tmp_path)
    array = np.array([Canary(), Canary()], dtype=object)
    if kind == "npy":
        np.save("a.npy", array, allow_pickle=True)
    elif kind == "npz":
        np.savez("a.npz", x=array)
    with pytest.raises((UnsafeDataError, InputError), match="Python objects"):
        ArraySource(array if kind == "memory" else f"a.{kind}")
    assert not Path("unpickled").exists()


def test_zip_files_of_another_kind_are_refused(tmp_path):
    """FAULTS 115: two members of one name."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", header() + bytes(18))
    with pytest.raises(InputError, match="compressed in another way"):
        open_rows(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", header() + bytes(18))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", header() + bytes(18))
    with pytest.raises(UnsafeDataError, match="two members of one name"):
        open_rows(tmp_path / "b.npz")


def test_a_member_must_be_chosen(tmp_path):
    np.savez(tmp_path / "a.npz", a=values(), b=values())
    with pytest.raises(ConfigError, match=r"several arrays; choose with member=, it holds 'a', 'b'"):
        ArraySource(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match=r"no array 'c'"):
        ArraySource(tmp_path / "a.npz", member="c")
    assert len(ArraySource(tmp_path / "a.npz", member="b")) == 20
    np.save(tmp_path / "a.npy", values())
    with pytest.raises(ConfigError, match="leave member='b' out"):
        ArraySource(tmp_path / "a.npy", member="b")
    with pytest.raises(ConfigError, match="leave it out"):
        ArraySource(values(), member="b")
    assert member_names(tmp_path / "a.npy") == []


def test_what_is_no_array_file_is_told(tmp_path):
    for name, content, message in (
        ("a.npy", b"", "is empty"),
        ("raw.npy", bytes(100), r"give.*numpy\.memmap|numpy.memmap"),
        ("gone.npy", None, "No such file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            ArraySource(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        ArraySource(tmp_path)
    os.mkfifo(tmp_path / "fifo.npy")
    with pytest.raises(InputError, match="FIFO"):
        ArraySource(tmp_path / "fifo.npy")


# --- HDF5 that asks for more than itself --------------------------------------------------


def test_hdf5_cannot_reach_outside_of_itself(tmp_path):
    """Fault 117: links and external storage would hand out other files of the host."""
    (tmp_path / "secret").write_bytes(bytes(range(48)))
    write_h5(tmp_path / "other.h5", values())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("outside", (3, 4, 4), "|u1", external=[(str(tmp_path / "secret"), 0, 48)])
        file["link"] = h5py.ExternalLink("other.h5", "group/images")
        file["soft"] = h5py.SoftLink("/outside")
        layout = h5py.VirtualLayout((20, 6, 5), "|u1")
        layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "group/images", (20, 6, 5))
        file.create_virtual_dataset("virtual", layout)
    assert member_names(tmp_path / "a.h5") == ["outside", "virtual"]
    for member in ("outside", "virtual"):
        with pytest.raises(UnsafeDataError, match="takes its values from other files"):
            open_rows(tmp_path / "a.h5", member)
    for member in ("link", "soft"):
        with pytest.raises(ConfigError, match="no array"):
            open_rows(tmp_path / "a.h5", member)


def test_hdf5_needs_no_plugin_and_no_giant_chunk(tmp_path):
    """Faults 117, 118."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 4, 4))
        plist.set_filter(305, h5py.h5z.FLAG_OPTIONAL, ())
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple((3, 4, 4)), plist)
    with pytest.raises(UnsafeDataError, match="needs the HDF5 filter 305"):
        open_rows(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", (2**20, 64, 64), "|u1", chunks=(2**19, 64, 64), compression="gzip")
    with pytest.raises(LimitError, match="has chunks of 2147483648 bytes"):
        open_rows(tmp_path / "b.h5")


def test_hdf5_that_was_not_written_to_the_end_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunked = file.create_dataset("chunked", (10, 4, 4), "|u1", chunks=(2, 4, 4))
        chunked[:4] = 1
        file.create_dataset("contiguous", (10, 4, 4), "|u1")
        file["scalar"] = 3
    with pytest.raises(InputError, match="has 2 of its 5 chunks"):
        open_rows(tmp_path / "a.h5", "chunked")
    with pytest.raises(InputError, match="never written to the end"):
        open_rows(tmp_path / "a.h5", "contiguous")
    with pytest.raises(InputError, match="is a single value"):
        open_rows(tmp_path / "a.h5", "scalar")


def test_hdf5_with_a_user_block_and_tiny_data(tmp_path):
    array = values((4, 3, 2))
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["x"] = array
    assert rows_equal(open_rows(tmp_path / "a.h5"), array)


# --- layouts and kinds --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((9, 28, 28), "NHW"),
        ((9, 28, 28, 1), "NHWC"),
        ((9, 28, 28, 3), "NHWC"),
        ((9, 28, 28, 4), "NHWC"),
        ((9, 1, 28, 28), "NCHW"),
        ((9, 3, 28, 28), "NCHW"),
        ((2, 2, 3), "NHW"),
    ],
)
def test_layouts_are_found_where_they_are_clear(shape, layout):
    assert find_layout(shape) == layout


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((9, 3, 8, 3), "layout='NHWC'.*or layout='NCHW'"),
        ((9, 1, 1, 1), "layout='NHWC'.*or layout='NCHW'"),
        ((9, 5, 8, 7), "layout='NHWC'.*or layout='NCHW'"),
        ((28, 28, 3), r"looks like one image.*layout='NHW'.*array\[None\]"),
        ((28, 28), r"\(N, H, W\), \(N, H, W, C\) or \(N, C, H, W\)"),
    ],
)
def test_ambiguous_shapes_are_errors_that_show_the_choices(shape, message):
    with pytest.raises(ConfigError, match=message):
        find_layout(shape)


def test_a_said_layout_is_held_against_the_shape():
    assert find_layout((9, 3, 8, 3), "NCHW") == "NCHW"
    assert ArraySource(np.zeros((28, 28, 3), np.uint8), layout="NHW")[0]["image"].shape == (28, 3)
    with pytest.raises(ConfigError, match="choose one of 'NHW', 'NHWC', 'NCHW'"):
        find_layout((9, 3, 8, 3), "HWC")
    with pytest.raises(ConfigError, match="not layout='NHW': choose 'NHWC' or 'NCHW'"):
        find_layout((9, 3, 8, 3), "NHW")
    with pytest.raises(ConfigError, match="reshape it"):
        find_layout((9, 3), "NHW")


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "kind", "sample"),
    [
        ((2, 8, 8), "u1", None, None, (8, 8)),
        ((2, 8, 8, 3), "u1", None, None, (8, 8, 3)),
        ((2, 3, 8, 8), "u1", None, None, (8, 8, 3)),
        ((2, 8, 8, 5), "u1", "NHWC", "array", (8, 8, 5)),
        ((2, 5, 8, 8), "u1", "NCHW", "array", (5, 8, 8)),
        ((2, 8, 8), "u2", None, "array", (8, 8)),
        ((2, 3, 8, 8), "f4", None, "array", (3, 8, 8)),
        ((2, 3, 8, 3), "f4", None, "array", (3, 8, 3)),
        ((2, 7), "u1", None, "array", (7,)),
        ((2, 2, 3, 4, 5), "u1", None, "array", (2, 3, 4, 5)),
        ((2, 0, 8), "u1", None, "array", (0, 8)),
    ],
)
def test_what_is_an_image_and_what_an_array(shape, dtype, layout, kind, sample):
    source = ArraySource(values(shape, dtype), layout=layout)
    assert source[1]["image"].shape == sample
    assert (source.fields["image"].kind if "image" in source.fields else None) == kind
    if kind:
        assert source.fields["image"].shape == sample


def test_what_cannot_be_images_is_refused():
    with pytest.raises(InputError, match="is a label, not an image"):
        ArraySource(np.zeros(5))
    with pytest.raises(InputError, match="has no axes"):
        ArraySource(np.zeros(()))
    with pytest.raises(InputError, match="pass it as labels="):
        ArraySource(np.array([["a"], ["b"]]))
    with pytest.raises(ConfigError, match="of type list"):
        ArraySource([[1, 2]])
    with pytest.raises(InputError, match=r"dtype datetime64\[s\]"):
        ArraySource(np.zeros((2, 2), "M8[s]"))


def test_tensors_are_arrays_too():
    tensor = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    source = ArraySource(tensor, labels=torch.tensor([1, 0]))
    np.testing.assert_array_equal(source[1]["image"], tensor[1].numpy())
    assert source[0]["label"] == 1


# --- labels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        ([2, 0, 1], [2, 0, 1], None),
        ([-1, 0, 2**62], [-1, 0, 2**62], None),
        (np.array([2.0, 0.0, 1.0]), [2, 0, 1], None),
        (np.array([[2], [0], [1]], np.uint8), [2, 0, 1], None),
        (np.array([2, 0, 1], ">u2"), [2, 0, 1], None),
        ([True, False, True], [1, 0, 1], None),
        (["dog", "cat", "dog"], [1, 0, 1], ("cat", "dog")),
        (["b", "é", "Z"], [1, 2, 0], ("Z", "b", "é")),
        (["10", "9", "10"], [0, 1, 0], ("10", "9")),
        (np.array(["dog", "cat", "dog"], dtype=object), [1, 0, 1], ("cat", "dog")),
        (np.array([b"dog", b"cat", "é".encode()]), [1, 0, 2], ("cat", "dog", "é")),
        (np.eye(3)[[2, 0, 1]], [2, 0, 1], None),
        (np.eye(3, dtype=bool)[[2, 0, 1]], [2, 0, 1], None),
    ],
)
def test_labels_become_class_numbers(labels, numbers, names):
    """FAULTS 32."""
    found = load_labels(labels)
    assert found.numbers.dtype == np.int64
    assert found.numbers.tolist() == numbers
    assert found.names == names
    assert found.class_to_idx == {name: i for i, name in enumerate(names or ())}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2.7, 1], r"label 1 is 2\.7"),
        ([0, float("nan")], "label 1 is nan"),
        (np.array([0, 2**63], np.uint64), "label 1 is 9223372036854775808"),
        ([0.0, 2.0**63], "label 1 is"),
        ([1j, 2], "dtype complex128"),
        ([None, 1], "Python objects"),
        ([1, "cat"], "mix names and numbers"),
        ([[1], [2, 3]], "different lengths"),
        ([[0, 1], [1, 1]], "row 1 is not one-hot"),
        ([[0, 1], [0, 0]], "row 1 is not one-hot"),
        ([[0.5, 0.5]], "row 0 is not one-hot"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.array([["a", "b"]]), r"names of shape \(1, 2\)"),
        (np.array([b"\xff"]), "not UTF-8"),
        (3, r"shape \(\)"),
    ],
)
def test_labels_that_are_none_are_refused(labels, message):
    """FAULTS 32."""
    with pytest.raises(InputError, match=message):
        load_labels(labels)


def test_70000_classes(tmp_path):
    """FAULTS 31."""
    names = [f"c{i:05d}" for i in range(70_000)]
    found = load_labels(names[::-1])
    assert found.numbers.tolist() == list(range(70_000))[::-1]


@pytest.mark.parametrize(
    ("name", "text", "numbers", "names"),
    [
        ("a.csv", "label\ncat\ndog\ncat\n", [0, 1, 0], ("cat", "dog")),
        ("a.txt", "3\n-1\n\n2\n", [3, -1, 2], None),
        ("a.csv", 'file,Class\n"a,b",x\nc, y \n', [0, 1], ("x", "y")),
        ("a.tsv", "target\tfile\n1\ta\n0\tb\n", [1, 0], None),
        ("a.csv", "\ufefflabel\né\n", [0], ("é",)),
    ],
)
def test_labels_from_text(tmp_path, name, text, numbers, names):
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = load_labels(tmp_path / name)
    assert (found.numbers.tolist(), found.names) == (numbers, names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "call the one with the labels 'label'"),
        (b"file,label\na,1\nb\n", "row 3 has 1 columns"),
        (b"\xff\xfe\n", "save it as UTF-8"),
    ],
)
def test_text_without_labels_is_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(InputError, match=message):
        load_labels(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["l.npy", "l.npz", "l.h5", "l-idx1-ubyte", "l-idx1-ubyte.gz"])
def test_labels_from_array_files(tmp_path, name):
    plain = {"l.npy": write_npy, "l.npz": write_npz, "l.h5": write_h5, "l-idx1-ubyte": write_idx}
    plain.get(name, write_idx_gz)(tmp_path / name, np.array([4, 0, 9], np.uint8))
    assert load_labels(tmp_path / name).numbers.tolist() == [4, 0, 9]


def test_names_in_hdf5_of_fixed_and_of_any_length(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["any"] = ["dog", "é", "a longer one"]
        file["fixed"] = np.array([b"dog", b"cat", b"dog"])
    assert load_labels(tmp_path / "a.h5", member="any").names == ("a longer one", "dog", "é")
    assert load_labels(tmp_path / "a.h5", member="fixed").numbers.tolist() == [1, 0, 1]


def test_class_names_can_be_given():
    assert load_labels([1, 0], classes=["cat", "dog"]).class_to_idx == {"cat": 0, "dog": 1}
    assert load_labels(["dog"], classes=["emu", "dog"]).numbers.tolist() == [1]
    with pytest.raises(InputError, match="'cow' is not one of"):
        load_labels(["cow"], classes=["dog"])
    with pytest.raises(InputError, match="run from 0 to 2, classes= has 2 names"):
        load_labels([0, 2], classes=["a", "b"])
    with pytest.raises(ConfigError, match="must be different strings"):
        load_labels([0], classes=["a", "a"])
    with pytest.raises(ConfigError, match="give labels= too"):
        ArraySource(values(), classes=["a"])


def test_lengths_must_agree(tmp_path):
    np.save(tmp_path / "a.npy", values())
    with pytest.raises(InputError, match=r"a\.npy has 20 samples, labels has 19"):
        ArraySource(tmp_path / "a.npy", labels=np.zeros(19, int))


# --- arrays that go together ---------------------------------------------------------------


@pytest.mark.parametrize(("images", "labels"), [("x", "y"), ("X", "y"), ("images", "labels"), ("data", "label")])
def test_labels_are_found_by_name(tmp_path, images, labels):
    np.savez(tmp_path / "a.npz", **{images: values(), labels: np.arange(20), "other": np.zeros(3)})
    source = open_source(tmp_path / "a.npz")
    assert source[7]["label"] == 7


def test_keras_files_hold_two_splits(tmp_path):
    np.savez(tmp_path / "m.npz", x_train=values(), y_train=np.arange(20), x_test=values((3, 6, 5)), y_test=[5, 4, 3])
    with pytest.raises(ConfigError, match="'x_test', 'x_train', 'y_test', 'y_train'"):
        open_source(tmp_path / "m.npz")
    test = ArraySource(tmp_path / "m.npz", member="x_test")
    assert [test[i]["label"] for i in range(3)] == [5, 4, 3]
    other = ArraySource(tmp_path / "m.npz", member="x_test", label_member="y_test", classes=list("abcdef"))
    assert other.fields["label"].names == tuple("abcdef")


def test_mnist_folders(tmp_path):
    write_idx_gz(tmp_path / "t10k-images-idx3-ubyte.gz", values())
    write_idx_gz(tmp_path / "t10k-labels-idx1-ubyte.gz", np.arange(20, dtype=np.uint8))
    source = open_source(tmp_path)
    assert (len(source), source[9]["label"]) == (20, 9)
    write_idx(tmp_path / "train-images-idx3-ubyte", values())
    with pytest.raises(ConfigError, match="several arrays of images"):
        open_source(tmp_path)


# --- what a conversion keeps of it -----------------------------------------------------------


def test_content_is_the_same_elsewhere_and_state_is_not(tmp_path):
    (tmp_path / "b").mkdir()
    for folder in (tmp_path, tmp_path / "b"):
        np.save(folder / "a.npy", values())
    one, two = (ArraySource(folder / "a.npy", labels=range(20)) for folder in (tmp_path, tmp_path / "b"))
    assert one.content() == two.content()
    assert one.state() != two.state()
    other = ArraySource(tmp_path / "a.npy", labels=[*range(19), 0])
    assert one.content() != other.content()
    changed = values()
    changed[5, 0, 0] += 1
    assert ArraySource(values()).state() == ArraySource(values()).state() != ArraySource(changed).state()
    assert one.name(3) == f"row 3 of {tmp_path}/a.npy"


@pytest.mark.parametrize("name", ["memmap", "hdf5", "parquet", "pyarrow_ipc", "tar"])
@pytest.mark.parametrize("workers", [0, 2])
def test_arrays_go_into_every_format(tmp_path, name, workers):
    array = values((30, 8, 6, 3))
    np.savez_compressed(tmp_path / "a.npz", x=array)
    source = ArraySource(tmp_path / "a.npz", labels=[f"c{i % 3}" for i in range(30)])
    options = {"shape": None} if name in ("memmap", "hdf5") else {}
    record = get_format(name)
    converter = record.load_converter()(source, tmp_path / name, 12, 5, workers, progress=False, **options)
    converter.convert()
    reader = open_reader(tmp_path / name, output="numpy")
    assert reader.class_to_idx == {"c0": 0, "c1": 1, "c2": 2}
    for i in range(30):
        image, label = reader[i]
        np.testing.assert_array_equal(image, array[i])
        assert label == i % 3


@pytest.mark.parametrize("name", ["memmap", "hdf5", "parquet", "pyarrow_ipc", "tar"])
@pytest.mark.parametrize("dtype", ["<f4", ">i2"])
def test_arrays_of_numbers_go_into_every_format(tmp_path, name, dtype):
    array = values((9, 4, 3), dtype) / np.array(1, dtype)
    array = array.astype(dtype)
    record = get_format(name)
    record.load_converter()(ArraySource(array), tmp_path / name, 4, 2, 0, progress=False).convert()
    reader = open_reader(tmp_path / name, output="numpy")
    for i in range(9):
        value = reader[i][0] if isinstance(reader[i], tuple) else reader[i]
        np.testing.assert_array_equal(value, array[i])


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not beside the repository")
def test_mnist_from_gzipped_idx():
    source = open_source(MNIST)
    pixels = np.frombuffer(gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = gzip.decompress((MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert len(source) == 10_000
    for i in (*range(0, 10_000, 501), 9_999, 0):
        np.testing.assert_array_equal(source[i]["image"], pixels.reshape(-1, 28, 28)[i])
        assert source[i]["label"] == labels[i]


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not beside the repository")
def test_a_network_learns_from_converted_mnist(tmp_path):
    """Labels and pixels that did not belong together could not be learned."""
    get_format("memmap").load_converter()(MNIST, tmp_path, shape=None, im_mode="L", num_workers=0).convert()
    reader = open_reader(tmp_path, output="tensor")
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 16, 5, 2), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(32 * 25, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    train = torch.utils.data.Subset(reader, range(8000))
    for images, labels in torch.utils.data.DataLoader(train, batch_size=32, shuffle=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images / 255), labels).backward()
        optimizer.step()
    test = torch.utils.data.Subset(reader, range(8000, 10_000))
    images, labels = next(iter(torch.utils.data.DataLoader(test, batch_size=2000)))
    with torch.no_grad():
        right = (model(images / 255).argmax(1) == labels).float().mean().item()
    assert right > 0.95


def test_empty_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 4, 4), np.uint8))
    assert len(ArraySource(tmp_path / "a.npy")) == 0
    assert rows_of_array(np.zeros((0, 4))).read(0, 0).shape == (0, 4)
