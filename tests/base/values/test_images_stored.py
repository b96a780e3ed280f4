"""Every kind of image and label, stored and returned by the written rule, through every format.

The rules: formats with values of any size keep the bytes of image files as they are,
and encode what has no bytes without loss; a reader hands images out in their own mode
if all have the same one, else as RGB. Formats of one size convert to `im_mode` first
and then resize. How modes are converted is worked out here with Pillow and NumPy alone.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shardwright.base.errors import InputError, UnsupportedImageError
from shardwright.base.fields import Field
from tests.conformance.tools import SHAPE, Store, encoded, picture

RNG = np.random.default_rng(11)
NOISE = RNG.integers(0, 256, (*SHAPE, 4), np.uint8)


def deep() -> Image.Image:
    """All of 16 bits: 0, 1, 255, 256, ... 65535."""
    values = np.array([0, 1, 128, 129, 255, 256, 257, 385, 386, 32767, 65534, 65535], np.uint16)
    return Image.fromarray(np.tile(values, (SHAPE[0], 1)))


def palette(**info: object) -> Image.Image:
    image = Image.frombytes("P", SHAPE[::-1], (NOISE[..., 0] % 7).tobytes())
    image.putpalette([10, 20, 30, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 255, 255, 255, 77, 88, 99])
    image.info.update(info)
    return image


IMAGES: dict[str, Callable[[], Image.Image]] = {
    "1": lambda: Image.fromarray(NOISE[..., 0] > 127),
    "L": lambda: Image.fromarray(NOISE[..., 0]),
    "LA": lambda: Image.merge("LA", [Image.fromarray(NOISE[..., i]) for i in (0, 3)]),
    "RGB": lambda: Image.fromarray(NOISE[..., :3]),
    "RGBA": lambda: Image.fromarray(NOISE),
    "P": palette,
    "P with transparency": lambda: palette(transparency=2),
    "CMYK": lambda: Image.frombytes("CMYK", SHAPE[::-1], NOISE.tobytes()),
    "I;16": deep,
}


def as_rgb(image: Image.Image) -> np.ndarray:
    """The written rule for RGB."""
    if image.mode == "I;16":
        gray = np.rint(np.asarray(image).astype(np.float64) / 257).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in ("LA", "RGBA") or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA")).astype(np.float64)
        alpha = pixels[..., 3:] / 255
        return np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def differs_by(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.fixture
def kept(store: Store, tmp_path: Path) -> Callable[..., object]:
    """Store samples in a new split and open it."""

    def convert(samples: object, **options: object) -> object:
        reading = {k: options.pop(k) for k in ("output", "mode") if k in options}
        return store.open(store.convert(samples, tmp_path / "out", **options), **reading)

    return convert


@pytest.mark.parametrize("name", IMAGES)
def test_every_mode_is_read_as_rgb_by_the_rule(kept: Callable[..., object], name: str):
    """Faults 13, 14, 16, 17, 18. Pillow lays alpha over white in integers: within one gray level of the truth."""
    image = IMAGES[name]()
    reader = kept([(image, 0), (image, 1)], mode="RGB")
    for found, _ in reader:
        assert found.mode == "RGB"
        assert differs_by(np.asarray(found), as_rgb(image)) <= ("A" in name or "transparency" in name)


@pytest.mark.parametrize("name", IMAGES)
def test_every_mode_is_kept_or_brought_to_im_mode(store: Store, kept: Callable[..., object], name: str):
    image = IMAGES[name]()
    if store.fixed:
        for mode in ("L", "RGBA"):
            found, _ = kept([(image, 0)], im_mode=mode, overwrite=True)[0]
            assert found.mode == mode
            rgb = as_rgb(image) if mode == "L" else np.asarray(found)[..., :3]
            gray = np.asarray(Image.fromarray(rgb).convert("L"))
            if mode == "L":
                assert differs_by(np.asarray(found), gray) <= 1
            elif image.mode in ("RGBA", "LA", "P"):
                assert np.array_equal(np.asarray(found), np.asarray(image.convert("RGBA")))
        return
    found, _ = kept([(image, 0)])[0]
    assert found.mode == image.mode
    assert found.size == image.size
    assert np.array_equal(np.asarray(found), np.asarray(image))
    if image.mode == "P":
        assert np.array_equal(np.asarray(found.convert("RGBA")), np.asarray(image.convert("RGBA")))


def test_sixteen_bits_are_kept_and_never_saturate(store: Store, kept: Callable[..., object]):
    """Fault 14."""
    image = deep()
    options = {"im_mode": "I;16"} if store.fixed else {}
    found, _ = kept([(image, 0)], output="numpy", **options)[0]
    assert found.dtype == np.uint16
    assert np.array_equal(found.reshape(SHAPE), np.asarray(image))
    eight, _ = kept(
        [(image, 0)], output="numpy", overwrite=True, **({"im_mode": "L"} if store.fixed else {"mode": "L"})
    )[0]
    assert np.array_equal(eight.reshape(SHAPE)[0], [0, 0, 0, 1, 1, 1, 1, 1, 2, 127, 255, 255])


def test_digits_of_28_by_28_gray_pixels_come_back(store: Store, kept: Callable[..., object]):
    """What torchvision's MNIST gives: PIL images of mode L and integer labels."""
    digits = [(picture(n, "L", (28, 28)), n % 10) for n in range(12)]
    reader = kept(digits, **({"shape": (28, 28), "im_mode": "L"} if store.fixed else {}))
    for (image, label), (sent, number) in zip(reader, digits, strict=True):
        assert (image.mode, image.size, label) == ("L", (28, 28), number)
        assert np.array_equal(np.asarray(image), np.asarray(sent))


@pytest.mark.parametrize(
    "data",
    [
        encoded(IMAGES["CMYK"](), "JPEG"),
        encoded(IMAGES["CMYK"](), "TIFF"),
        encoded(deep(), "PNG"),
        encoded(deep(), "TIFF"),
        encoded(IMAGES["1"](), "PNG"),
        encoded(IMAGES["1"](), "TIFF"),
        encoded(palette(), "GIF"),
        encoded(palette(), "PNG"),
        encoded(palette(), "PNG", transparency=2),
        encoded(IMAGES["LA"](), "PNG"),
        encoded(IMAGES["RGBA"](), "WEBP", lossless=True),
        encoded(IMAGES["L"](), "JPEG"),
        encoded(picture(1, size=(1, 1)), "PNG"),
        encoded(picture(1, size=(1, 3000)), "PNG"),
    ],
    ids=lambda data: "/".join(
        map(str, (Image.open(io.BytesIO(data)).format, Image.open(io.BytesIO(data)).mode, len(data)))
    ),
)
def test_image_files_of_every_kind(store: Store, tmp_path: Path, data: bytes):
    """Faults 6, 13, 14, 16, 17, 18, 21: bytes as they are; pixels of a fixed size by mode, then size."""
    folder = tmp_path / "in" / "class"
    folder.mkdir(parents=True)
    (folder / "misnamed.jpg").write_bytes(data)
    path = store.convert(tmp_path / "in", tmp_path / "out")
    if not store.fixed:
        assert store.open(path, output="bytes")[0] == (data, 0)
    found = np.asarray(store.open(path, mode="RGB")[0][0])
    sent = as_rgb(Image.open(io.BytesIO(data)))
    assert differs_by(found, sent if found.shape == sent.shape else store.pixels(data)) <= 1


@pytest.mark.parametrize("kind", ["array HWC", "array HW", "array HW1", "tensor CHW", "tensor HW", "bool"])
def test_arrays_and_tensors_are_images_too(kept: Callable[..., object], kind: str):
    pixels = {
        "array HWC": NOISE[..., :3],
        "array HW": NOISE[..., 0],
        "array HW1": NOISE[..., :1],
        "tensor CHW": torch.from_numpy(NOISE[..., :3].transpose(2, 0, 1).copy()),
        "tensor HW": torch.from_numpy(NOISE[..., 0].copy()),
        "bool": NOISE[..., 0] > 127,
    }[kind]
    wanted = NOISE[..., :3] if "C" in kind else np.repeat(NOISE[..., :1], 3, axis=2)
    wanted = np.where(wanted > 127, 255, 0) if kind == "bool" else wanted
    found, _ = kept([(pixels, 0)], mode="RGB")[0]
    assert np.array_equal(np.asarray(found), wanted)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_rule_are_refused(store: Store, tmp_path: Path, mode: str):
    """Fault 15."""
    with pytest.raises(UnsupportedImageError, match=f"sample 0.*{mode}"):
        store.convert([(Image.new(mode, (4, 4)), 0)], tmp_path / "out")


@pytest.mark.parametrize("encoding", ["jpeg", "webp"])
def test_encodings_that_lose_are_used_when_asked_for(tmp_path: Path, encoding: str):
    """Never for masks, and the quality counts."""
    store = Store("tar", tmp_path)
    samples = [(picture(0, size=(32, 32)), Image.fromarray(NOISE[..., 0]))]
    sizes = []
    for quality in (20, 95):
        path = store.convert(samples, f"{encoding}{quality}", encoding=encoding, quality=quality)
        image, mask = store.open(path, output="bytes")[0]
        assert Image.open(io.BytesIO(image)).format == encoding.upper()
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask))), NOISE[..., 0])
        sizes.append(len(image))
    assert sizes[0] < sizes[1]


LABELS = [0, -1, 256, 257, 65_535, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor, np.array])
def test_whole_numbers_are_exact(kept: Callable[..., object], kind: Callable[[int], object]):
    """Faults 31, 32."""
    reader = kept([(picture(0), kind(label)) for label in LABELS])
    assert [label for _, label in reader] == LABELS
    assert reader.targets.tolist() == LABELS
    assert {type(label) for _, label in reader} == {int}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64])
def test_numpy_integers_of_every_size_are_exact(kept: Callable[..., object], dtype: type):
    """Fault 32."""
    info = np.iinfo(dtype)
    numbers = [dtype(info.min), dtype(min(info.max, 2**63 - 1)), dtype(1)]
    assert [label for _, label in kept([(picture(0), n) for n in numbers])] == [int(n) for n in numbers]


def test_seventy_thousand_classes_are_exact(kept: Callable[..., object]):
    """Fault 31: labels that fit neither 8 nor 16 bits; -1 means unknown."""
    names = tuple(f"class {n}" for n in range(70_000))
    labels = [255, 256, 65_535, 65_536, 69_999, 0, -1]
    fields = [Field("label", "class_label", names=names)]
    reader = kept([(picture(0), label) for label in labels], fields=fields)
    assert [label for _, label in reader] == labels
    assert len(reader.classes) == 70_000
    assert reader.class_to_idx["class 69999"] == 69_999


@pytest.mark.parametrize(
    "label", [2.0, 2.7, "cat", None, np.float32(1), torch.tensor(1.5), [0, 1], np.array([0, 1]), b"1"]
)
def test_what_is_no_class_is_a_clear_error(store: Store, tmp_path: Path, label: object):
    """Fault 32: named by sample and field, in every format, with no split left behind."""
    fields = [Field("label", "class_label", names=("a", "b", "c"))]
    with pytest.raises(InputError, match=r"sample 1.*'label' \(class_label\) takes a whole number"):
        store.convert([(picture(0), 2), (picture(1), label)], tmp_path / "out", fields=fields)
    assert not (tmp_path / "out" / "metadata" / "train.json").exists()


def test_a_label_of_another_kind_than_the_first_is_an_error(store: Store, tmp_path: Path):
    """Fault 32: inferred as whole numbers, so a later float is not rounded."""
    with pytest.raises(InputError, match=r"sample 1.*fields="):
        store.convert([(picture(0), 2), (picture(1), 2.7)], tmp_path / "out")
