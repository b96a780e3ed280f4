"""Array files are seen alike, whether they are converted or indexed where they lie."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.formats import get_format
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from tests.arrays.files import idx_bytes

COUNT = 12
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (COUNT, 7, 6, 3), np.uint8)
GRAY = IMAGES[..., 0]
MASKS = RNG.integers(0, 4, (COUNT, 7, 6)).astype(np.uint16)
BOXES = RNG.random((COUNT, 2, 4))
LABELS = np.arange(COUNT) % 3
NAMES = np.array(["eel", "cat", "dog"])[LABELS]
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
WEIGHTS = np.linspace(0, 1, COUNT)


def npz(save: Callable[..., None] = np.savez, **arrays: Any) -> Callable[[Path], None]:
    return lambda folder: save(folder / "a.npz", **arrays)


def npy(**arrays: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)

    return write


def idx(ending: str, pack: Callable[[bytes], bytes] = bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / f"t10k-images-idx3-ubyte{ending}").write_bytes(pack(idx_bytes(GRAY)))
        (folder / f"t10k-labels-idx1-ubyte{ending}").write_bytes(pack(idx_bytes(LABELS.astype(np.uint8))))

    return write


def h5(names: Any = None, how: Any = None, block: int = 0, **arrays: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        with h5py.File(folder / "a.h5", "w", userblock_size=block) as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, **(how or {}).get(name, {}))
            if names is not None:
                file["labels"].attrs["class_names"] = np.array(names, "S")

    return write


GZIP = {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": True}
ROWS = {"chunks": (5, 3, 6, 2), "compression": "lzf"}
ALIKE: dict[str, Callable[[Path], None]] = {
    "npy": npy(images=IMAGES),
    "npy and labels": npy(images=IMAGES, labels=LABELS),
    "npy, labels and masks": npy(images=IMAGES, labels=NAMES, masks=MASKS),
    "npy, x and y": npy(x_train=IMAGES, y_train=ONE_HOT),
    "npy in shards": npy(
        **{"images-0": IMAGES[:5], "labels-0": NAMES[:5], "images-1": IMAGES[5:7], "labels-1": NAMES[5:7]},
        **{"images-2": IMAGES[7:], "labels-2": NAMES[7:]},
    ),
    "npz": npz(x=IMAGES, y=LABELS),
    "npz, one-hot": npz(images=IMAGES, labels=ONE_HOT, weights=WEIGHTS),
    "npz, channels first": npz(images=np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)), labels=LABELS[:, None]),
    "npz, deflated labels": npz(images=IMAGES, labels=NAMES, mean=IMAGES[0], boxes=BOXES),
    "npz of no images": npz(features=BOXES, weights=WEIGHTS, other=BOXES.astype("f4")),
    "npz, objects": npz(images=IMAGES, labels=LABELS, notes=np.array([{}] * COUNT, object)),
    "IDX": idx(""),
    "HDF5": h5(images=IMAGES, labels=LABELS),
    "HDF5, class names": h5(["a", "b", "c"], images=IMAGES, labels=LABELS),
    "HDF5, strings": h5(images=IMAGES, labels=NAMES.astype("S")),
    "HDF5, strings of any length": h5(images=IMAGES, labels=NAMES.tolist()),
    "HDF5, many": h5(images=IMAGES, labels=LABELS, masks=MASKS, boxes=BOXES, weights=WEIGHTS, gray=GRAY),
    "HDF5, numbers in chunks": h5(None, {"labels": GZIP}, images=IMAGES, labels=LABELS),
    "HDF5, in groups": h5(**{"g/x": IMAGES, "g/y": LABELS}),
    "HDF5, labels of any kind": h5(images=IMAGES, labels=ONE_HOT / 2),
}
PARTLY: dict[str, tuple[Callable[[Path], None], str]] = {
    "HDF5, one in chunks": (
        h5(None, {"boxes": GZIP}, images=IMAGES, boxes=BOXES),
        "field boxes: in chunks or compressed",
    ),
    "HDF5, text": (h5(images=IMAGES, caption=NAMES.tolist()), "field caption: strings of any length"),
    "npz, text": (npz(images=IMAGES, labels=LABELS, caption=NAMES), "field caption: padded text"),
    "npz, Fortran order": (npz(images=IMAGES, boxes=np.asfortranarray(BOXES)), "field boxes: in Fortran order"),
    "npz, another byte order": (npz(images=IMAGES, boxes=BOXES.astype(">f8")), "field boxes: in the byte order"),
}
ONLY_CONVERTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "npz, deflated": (npz(np.savez_compressed, x=IMAGES, y=NAMES), "compressed"),
    "IDX, gzip": (idx(".gz", gzip.compress), "compressed"),
    "HDF5, gzip": (h5(None, {"images": GZIP}, images=IMAGES, labels=LABELS), "in chunks or compressed"),
    "HDF5, lzf": (h5(None, {"images": ROWS}, images=IMAGES, labels=NAMES.tolist()), "in chunks or compressed"),
    "HDF5, scaleoffset": (h5(None, {"images": {"scaleoffset": 0}}, images=MASKS), "in chunks or compressed"),
    "HDF5, a user block": (h5(block=512, images=IMAGES, labels=LABELS), "not in one piece"),
    "npy, Fortran order": (npy(images=np.asfortranarray(IMAGES), labels=LABELS), "Fortran"),
    "npy, another byte order": (npy(images=BOXES.astype(">f4")), "byte order"),
}


def converted(folder: Path, out: Path) -> Any:
    get_format("parquet").load_converter()(folder, out, 5, 3, 0, progress=False).convert()
    return open_reader(out, output="numpy")


def as_dict(sample: Any) -> dict[str, Any]:
    if isinstance(sample, np.ndarray):
        return {"image": sample}
    return sample if isinstance(sample, dict) else dict(zip(("image", "label"), sample, strict=True))


def equal(one: Any, other: Any, names: set[str]) -> bool:
    assert one.class_to_idx == other.class_to_idx
    for number in range(COUNT):
        first, second = as_dict(one[number]), as_dict(other[number])
        for name in names:
            np.testing.assert_array_equal(first[name], second[name])
            assert np.asarray(first[name]).dtype == np.asarray(second[name]).dtype
    return True


def names_of(reader: Any) -> list[tuple[str, str]]:
    return [(f.name, f.kind) for f in reader.fields]


@pytest.mark.parametrize("write", ALIKE.values(), ids=ALIKE)
def test_converting_and_indexing_give_the_same(write: Callable[[Path], None], tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    write(folder)
    manifest = index_files(folder, tmp_path / "index")
    indexed = open_reader(tmp_path / "index", data_path=folder, output="numpy")
    own = converted(folder, tmp_path / "out")
    assert names_of(indexed) == names_of(own)
    assert equal(indexed, own, {f.name for f in own.fields})
    assert manifest.ignored == own.manifest.ignored
    assert manifest.sample_type == own.manifest.sample_type


@pytest.mark.parametrize(("write", "reason"), PARTLY.values(), ids=PARTLY)
def test_what_cannot_be_indexed_is_counted(write: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    write(folder)
    manifest = index_files(folder, tmp_path / "index")
    indexed = open_reader(tmp_path / "index", data_path=folder, output="numpy")
    own = converted(folder, tmp_path / "out")
    left = {f.name for f in own.fields} - {f.name for f in indexed.fields}
    assert equal(indexed, own, {f.name for f in indexed.fields})
    assert [count for why, count in manifest.ignored.items() if why.startswith(reason)] == [COUNT]
    assert [why.split(":")[0] for why in manifest.ignored] == [f"field {name}" for name in left]


@pytest.mark.parametrize(("write", "reason"), ONLY_CONVERTED.values(), ids=ONLY_CONVERTED)
def test_what_is_only_converted_says_so(write: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    write(folder)
    with pytest.raises(InputError, match=rf"{reason}.*Converter\(input_data="):
        index_files(folder)
    own = converted(folder, tmp_path / "out")
    for number in range(COUNT):
        sample, wanted = as_dict(own[number]), as_dict(open_source(folder)[number])
        np.testing.assert_array_equal(sample["image"], wanted["image"])


@pytest.mark.parametrize("work", [index_files, open_source])
def test_arrays_of_several_splits_are_not_joined(work: Callable[[Path], Any], tmp_path: Path) -> None:
    for name in ("x_train", "x_test"):
        np.save(tmp_path / f"{name}.npy", IMAGES)
    with pytest.raises(ConfigError, match=r"several arrays of images.*x_test\.npy, x_train\.npy"):
        work(tmp_path)


@pytest.mark.parametrize("work", [index_files, open_source])
@pytest.mark.parametrize("shape", [(3, 8, 3), (28, 3)])
def test_a_layout_in_doubt_is_asked_for(work: Callable[[Path], Any], shape: tuple[int, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((28, *shape), np.uint8), labels=np.zeros(28))
    with pytest.raises(ConfigError, match=r"layout='.*ArraySource\(.*member='images', layout=\.\.\."):
        work(tmp_path / "a.npz")


def test_class_names_of_one_file_are_not_those_of_another(tmp_path: Path) -> None:
    """Each part has names of its own, which count from 0."""
    for part, names in enumerate((["b", "d"], ["c", "b"], ["a", "a"])):
        np.savez(tmp_path / f"{part}.npz", images=IMAGES[:2], labels=names)
    source = open_source(tmp_path)
    names = source.fields["label"].names
    assert names == ("a", "b", "c", "d")
    assert [names[source[n]["label"]] for n in range(6)] == ["b", "d", "c", "b", "a", "a"]
