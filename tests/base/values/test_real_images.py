"""Real photographs and digits into all formats and back, every pixel; skipped where the data is not at hand."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardwright.base.images import ResizeAndConvert
from tests.conformance.own_library import read_shards
from tests.conformance.tools import Store, files_of, hashes

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
IMAGENET = DATA / "imagenet-sample"
MNIST = DATA / "mnist-t10k"
imagenet = pytest.mark.skipif(not IMAGENET.is_dir(), reason=f"{IMAGENET} is not there")
mnist = pytest.mark.skipif(not MNIST.is_dir(), reason=f"{MNIST} is not there")
WHOLE = {"images_per_file": 64, "batch_size": 32, "num_workers": 2}


@pytest.fixture(scope="module")
def files() -> list[tuple[Path, int]]:
    """The photographs with their labels, found without the library."""
    return files_of(IMAGENET)


def pillow_rgb(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@imagenet
@pytest.mark.parametrize("name", ["tar", "parquet", "pyarrow_ipc"])
def test_stored_bytes_are_the_files_and_pixels_are_pillows(name: str, tmp_path: Path, files: list[Any]):
    """Two hundred JPEGs of mixed sizes, some of them gray."""
    store = Store(name, tmp_path)
    path = store.convert(IMAGENET, **WHOLE)
    assert len({len(path.read_bytes()) for path, _ in files}) > 100
    stored = read_shards(name, store.shards(path))
    assert stored["label"] == [label for _, label in files]
    contents = [path.read_bytes() for path, _ in files]
    assert stored["image"] == contents
    assert [data for data, _ in store.open(path, output="bytes")] == contents
    modes = set()
    for (image, label), (file, number) in zip(store.open(path), files, strict=True):
        with Image.open(file) as opened:
            modes.add(opened.mode)
        assert label == number
        assert np.array_equal(np.asarray(image), pillow_rgb(file)), file
    assert modes == {"RGB", "L"}


@imagenet
@pytest.mark.parametrize("shape", [(224, 224), (160, 320)])
@pytest.mark.parametrize("name", ["memmap", "hdf5"])
def test_pixels_are_those_resized_by_hand(name: str, shape: tuple[int, int], tmp_path: Path, files: list[Any]):
    """Fault 40: height and width the right way round."""
    store = Store(name, tmp_path)
    path = store.convert(IMAGENET, shape=shape, im_mode="RGB", **WHOLE)
    resize = ResizeAndConvert(shape, "RGB")
    stored = read_shards(name, store.shards(path))
    assert [int(label) for label in stored["label"]] == [label for _, label in files]
    pairs = zip(store.open(path, output="numpy", check=True), files, stored["image"], strict=True)
    for (pixels, label), (file, number), own in pairs:
        wanted = np.asarray(resize(Image.open(file)))
        assert wanted.shape == (*shape, 3)
        assert label == number
        assert np.array_equal(pixels, wanted), file
        assert np.array_equal(own, wanted), file
        near = Image.open(file).convert("RGB").resize(shape[::-1], Image.Resampling.BILINEAR)
        assert int(np.abs(wanted.astype(int) - np.asarray(near)).max()) <= 2, file


@imagenet
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_and_batches_change_no_byte(tmp_path: Path):
    store = Store("parquet", tmp_path)
    wanted = hashes(store.convert(IMAGENET, "wanted", **WHOLE))
    for n, (workers, batch) in enumerate([(0, 1), (4, 7), (0, 1000)]):
        found = store.convert(IMAGENET, f"out{n}", images_per_file=64, num_workers=workers, batch_size=batch)
        assert hashes(found) == wanted


def read_idx(path: Path, start: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes())[start:], np.uint8)


@mnist
def test_digits_come_back_from_every_format(store: Store, tmp_path: Path):
    """As torchvision's MNIST gives them: PIL images of mode L, 28 by 28."""
    pixels = read_idx(MNIST / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:500]
    labels = read_idx(MNIST / "t10k-labels-idx1-ubyte.gz", 8)[:500].tolist()
    digits = [(Image.fromarray(image), label) for image, label in zip(pixels, labels, strict=True)]
    options = {"shape": (28, 28), "im_mode": "L"} if store.fixed else {}
    reader = store.open(store.convert(digits, tmp_path / "out", images_per_file=200, batch_size=64, **options))
    assert reader.targets.tolist() == labels
    for (image, label), number, wanted in zip(reader, labels, pixels, strict=True):
        assert (image.mode, label) == ("L", number)
        assert np.array_equal(np.asarray(image), wanted)


@imagenet
def test_a_copy_through_all_formats_keeps_the_bytes(tmp_path: Path, files: list[Any]):
    """Folder to tar to Arrow to Parquet: the files' own bytes at every step."""
    path: Any = IMAGENET
    for name in ("tar", "pyarrow_ipc", "parquet"):
        path = Store(name, tmp_path).convert(path, name, images_per_file=70, batch_size=16)
    data = [image for image, _ in Store("parquet", tmp_path).open(path, output="bytes")]
    assert data == [file.read_bytes() for file, _ in files]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data[7])).convert("RGB")), pillow_rgb(files[7][0]))
