"""EXIF: what Pillow says of a JPEG is on every image, and the orientation is applied where that is asked."""

import io
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.export import export
from shardwright.base.fields import Field
from shardwright.base.formats import format_names, get_format
from shardwright.base.images import EncodedImage, ResizeAndConvert, decode, decode_pil, to_array, to_pil
from shardwright.base.images.info import jpeg_info, may_be_turned
from shardwright.base.index_files import index_files
from shardwright.base.merge import merge
from shardwright.base.reader import open_reader
from shardwright.base.views import concat
from shardwright.cli.main import main
from shardwright.parquet.converter import ParquetConverter
from shardwright.parquet.reader import ParquetReader
from shardwright.training.loader import ThreadedLoader
from shardwright.training.transforms import EvalTransform
from tests.conformance.tools import picture

ORIENTATION = 0x0112


def photo(orientation: int | None = 6, kind: str = "JPEG", number: int = 0, **options: Any) -> bytes:
    """A picture of 24 x 40 pixels whose EXIF may ask to turn it."""
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    file = io.BytesIO()
    picture(number, size=(24, 40)).convert(options.pop("mode", "RGB")).save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def upright(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(opened(data)))


ICC = bytes(range(256)) * 400  # longer than one marker holds
JPEGS = {
    "plain": photo(None),
    "gray": photo(None, mode="L"),
    "progressive": photo(None, progressive=True),
    "dpi": photo(None, dpi=(300, 150)),
    "restart": photo(None, restart_marker_blocks=4),
    "icc": photo(None, icc_profile=ICC),
    "exif": photo(6),
    "everything": photo(3, dpi=(72, 72), icc_profile=ICC, comment=b"a photo", progressive=True),
    "comment": photo(None, comment=b"a photo"),
    "xmp": photo(None, xmp=b'<x tiff:Orientation="8"/>'),
    "no JFIF": (plain := photo(None))[:2] + plain[20:],
    "per centimetre": plain[:13] + b"\2\0\x28\0\x28" + plain[18:],
    "short JFIF": plain[:2] + b"\xff\xe0\0\x0aJFIF\0\1\1\0" + plain[20:],
    "two JFIF": plain[:20] + plain[2:],
}


@pytest.mark.parametrize("name", JPEGS)
def test_info_is_that_of_pillow(name: str) -> None:
    theirs = opened(JPEGS[name])
    assert jpeg_info(JPEGS[name]) == theirs.info
    for mode, decoder in product((None, "RGB", "L", "RGBA", "I;16"), ("auto", "fast", "pillow")):
        ours = decode_pil(JPEGS[name], mode, decoder=decoder)
        kept = {key: theirs.info[key] for key in ("exif", "icc_profile", "dpi", "xmp") if key in theirs.info}
        assert {key: ours.info.get(key) for key in kept} == kept
    assert to_pil(EncodedImage(JPEGS[name])).info == theirs.info


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_header_that_is_cut_has_no_info_and_is_no_surprise(cut: int) -> None:
    data = JPEGS["everything"]
    for damaged in (data[:cut], data[:cut] + b"\0\0\0" + data[cut + 3 :]):
        assert isinstance(jpeg_info(damaged), dict)


@pytest.mark.parametrize("orientation", [None, *range(10)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_is_applied_as_pillow_does(kind: str, orientation: int | None) -> None:
    data = photo(orientation, kind)
    wanted, wrong = upright(data), np.asarray(opened(data))
    for image in (data, EncodedImage(data), opened(data)):
        assert np.array_equal(to_array(image, exif="apply"), wanted)
        assert np.array_equal(np.asarray(to_pil(image, exif="apply")), wanted)
        assert np.array_equal(to_array(image), wrong)
    assert ORIENTATION not in decode_pil(data, exif="apply").getexif() or orientation not in range(2, 9)
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(decode_pil(data))), wanted)
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(decode_pil(data, "L"))), decode(data, "L", exif="apply"))
    size = (wanted.shape[0], wanted.shape[1])
    assert np.array_equal(np.asarray(ResizeAndConvert(size, "RGB", exif="apply")(data)), wanted)


def test_a_png_keeps_its_exif_in_another_mode() -> None:
    image = decode_pil(photo(6, "PNG", mode="RGBA"), "RGB")
    assert ImageOps.exif_transpose(image).size == (24, 40)
    assert "transparency" not in image.info


def test_only_a_jpeg_that_is_turned_takes_the_slow_way() -> None:
    assert not may_be_turned(photo(None))
    assert not may_be_turned(photo(1))
    assert may_be_turned(photo(8))


# Converters and readers.


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[bytes]]:
    """Class folders of photos, of which some lie on their side."""
    files = [photo(o, number=n) for n, o in enumerate((6, None, 3, 8, 1, 6))]
    for number, data in enumerate(files):
        path = tmp_path / "photos" / "ab"[number // 3] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "photos", files


def convert(data: Any, path: Path, name: str = "parquet", **options: Any) -> Path:
    get_format(name).load_converter()(data, path, num_workers=0, progress=False, **options).convert()
    return path


FIXED = [name for name in format_names() if get_format(name).load_converter().fixed_size]
FLEXIBLE = [name for name in format_names() if name not in FIXED]


@pytest.mark.parametrize("name", FLEXIBLE)
def test_kept_bytes_are_turned_by_readers_as_the_converter_was_told(folder: Any, tmp_path: Path, name: str) -> None:
    path, files = folder
    plain, turned = (convert(path, tmp_path / how, name, exif=how) for how in ("ignore", "apply"))
    for how, expected in (("ignore", [opened(f) for f in files]), ("apply", list(map(upright, files)))):
        for split in (plain, turned):
            reader = open_reader(split, exif=how, output="numpy")
            assert [np.array_equal(image, e) for (image, _), e in zip(reader, expected, strict=True)] == [True] * 6
            values = reader.read_values(range(6), ["image"])["image"]
            assert [np.array_equal(image, e) for image, e in zip(values, expected, strict=True)] == [True] * 6
            assert [
                bytes(b) for b in open_reader(split, output="bytes").read_values(range(6), ["image"])["image"]
            ] == files
    assert open_reader(plain)[0][0].size == (40, 24)
    assert open_reader(turned)[0][0].size == (24, 40)
    assert open_reader(turned, output="tensor")[0][0].shape == (3, 40, 24)
    assert ImageOps.exif_transpose(open_reader(plain)[0][0]).size == (24, 40)
    assert ImageOps.exif_transpose(open_reader(turned)[0][0]).size == (24, 40)


def test_the_default_leaves_every_byte_as_it_was(folder: Any, tmp_path: Path) -> None:
    path, _ = folder
    one, two = convert(path, tmp_path / "one"), convert(path, tmp_path / "two", exif="ignore")
    for file in sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file()):
        assert (one / file).read_bytes() == (two / file).read_bytes()
        assert b"exif" not in (one / file).read_bytes() or file.suffix == ".parquet"


@pytest.mark.parametrize("name", FIXED)
def test_raw_pixels_are_turned_before_they_are_stored(folder: Any, tmp_path: Path, name: str) -> None:
    path, files = folder
    split = convert(path, tmp_path / "out", name, shape=(32, 32), exif="apply")
    reader = open_reader(split, output="numpy")
    for (image, _), data in zip(reader, files, strict=True):
        assert np.array_equal(image, to_array(ResizeAndConvert((32, 32), exif="apply")(data)))
    assert open_reader(split, exif="apply").fields == reader.fields
    with pytest.raises(ConfigError, match=r"too late for field 'image'.*convert the images again with exif='ignore'"):
        open_reader(split, exif="ignore")
    with pytest.raises(ConfigError, match="stored with exif='ignore'"):
        open_reader(convert(path, tmp_path / "plain", name, shape=(32, 32)), exif="apply")


@pytest.mark.parametrize("name", FIXED)
def test_without_a_shape_it_is_that_of_the_upright_image(tmp_path: Path, name: str) -> None:
    data = [(EncodedImage(photo(6, number=n)), n) for n in range(3)]
    split = convert(data, tmp_path / "out", name, shape=None, exif="apply")
    assert open_reader(split, output="numpy")[0][0].shape == (40, 24, 3)


def test_smaller_images_are_turned_when_they_are_made(folder: Any, tmp_path: Path) -> None:
    path, files = folder
    reader = open_reader(convert(path, tmp_path / "out", longer_side=20, exif="apply"), output="numpy")
    assert [image.shape[:2] for image, _ in reader] == [
        (20, 12) if upright(data).shape[0] == 40 else (12, 20) for data in files
    ]


def test_pil_images_of_a_dataset_are_turned_too(tmp_path: Path) -> None:
    data = [(opened(photo(6, number=n)), n) for n in range(3)]
    turned = open_reader(convert(data, tmp_path / "out", exif="apply"), output="numpy")
    assert np.array_equal(turned[1][0], upright(photo(6, number=1)))
    plain = open_reader(convert(data, tmp_path / "plain"), output="numpy")
    assert plain[1][0].shape == (24, 40, 3)


@pytest.mark.parametrize("transform", [None, EvalTransform(16, resize=20)], ids=["whole", "fused"])
@pytest.mark.parametrize("decoder", ["auto", "fast", "pillow"])
def test_loaders_turn_what_readers_turn(folder: Any, tmp_path: Path, transform: Any, decoder: Any) -> None:
    path, _ = folder
    split = convert(path, tmp_path / "out")
    reader = ParquetReader(split, output="tensor", exif="apply", decoder=decoder, mode="RGB")
    batches = [images for images, _ in ThreadedLoader(reader, batch_size=2, shuffle=False, transform=transform)]
    loaded = [image for images in batches for image in images]
    for image, (wanted, _) in zip(loaded, reader, strict=True):
        expected = wanted if transform is None else transform(wanted)
        assert image.shape == expected.shape
        assert torch.allclose(image.float(), expected.float(), atol=1e-4)


def test_the_choice_goes_along(folder: Any, tmp_path: Path) -> None:
    path, files = folder
    turned, plain = convert(path, tmp_path / "turned", exif="apply"), convert(path, tmp_path / "plain")
    again = convert(turned, tmp_path / "again", "tar")
    assert open_reader(again)[0][0].size == (24, 40)
    assert open_reader(convert(ParquetReader(plain, exif="apply"), tmp_path / "told"))[0][0].size == (24, 40)
    assert open_reader(convert(turned, tmp_path / "undone", exif="ignore"))[0][0].size == (40, 24)
    memmap = open_reader(convert(turned, tmp_path / "pixels", "memmap", shape=(40, 24)), output="numpy")
    assert np.array_equal(memmap[0][0], upright(files[0]))
    merge([ParquetReader(turned), ParquetReader(turned)], tmp_path / "merged")
    assert open_reader(tmp_path / "merged")[0][0].size == (24, 40)
    export(memmap, tmp_path / "a.npz", "npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["x_train"][0], upright(files[0]))


def test_splits_that_turn_and_splits_that_do_not_are_not_mixed(folder: Any, tmp_path: Path) -> None:
    path, _ = folder
    turned, plain = convert(path, tmp_path / "turned", exif="apply"), convert(path, tmp_path / "plain")
    with pytest.raises(ConfigError, match="exif='apply'"):
        concat([ParquetReader(turned), ParquetReader(plain)])
    both = concat([ParquetReader(turned), ParquetReader(plain, exif="apply")])
    assert both[0][0].size == both[6][0].size == (24, 40)
    with pytest.raises(ConfigError, match="exif="):
        merge([ParquetReader(turned), ParquetReader(plain)], tmp_path / "merged")


def test_files_in_place_are_turned_by_readers(folder: Any, tmp_path: Path) -> None:
    path, _ = folder
    data = convert(path, tmp_path / "out") / "data"
    index_files(data, exif="apply")
    assert open_reader(data)[0][0].size == (24, 40)
    assert open_reader(data, exif="ignore")[0][0].size == (40, 24)


def test_the_command_line(folder: Any, tmp_path: Path, capsys: Any) -> None:
    path, _ = folder
    assert main(["convert", str(path), str(tmp_path / "out"), "--format", "parquet", "--exif", "apply"]) == 0
    assert main(["info", str(tmp_path / "out")]) == 0
    assert "turned as EXIF says" in capsys.readouterr().out
    assert main(["index", str(tmp_path / "out" / "data"), "--exif", "apply"]) == 0
    assert open_reader(tmp_path / "out" / "data")[0][0].size == (24, 40)


def test_wrong_choices_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exif"):
        ParquetConverter([(0, 1)], tmp_path / "out", exif="yes")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="exif"):
        Field("mask", "mask", exif="apply")
    with pytest.raises(ConfigError, match="exif"):
        Field("image", "image", exif="turn")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="exif"):
        decode(photo(), exif="yes")  # type: ignore[arg-type]
    with pytest.raises(InputError):
        decode(photo()[:300], exif="apply")
