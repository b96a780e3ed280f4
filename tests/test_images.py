"""Images: every rule of decoding, encoding, conversion and resizing, on images made here."""

import io
import os
import pickle
import random
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import utils.utils
from datasets.base import images
from datasets.base.errors import ConfigError, InputError, LimitError, UnsupportedImageError
from datasets.base.images import (
    MAX_PIXELS,
    EncodedImage,
    ImageInfo,
    ResizeAndConvert,
    decode,
    decode_pil,
    encode,
    probe,
    resize,
    to_array,
    to_mode,
    to_pil,
)

REAL_IMAGES = Path(__file__).parents[2] / "shared" / "data" / "imagenet-sample"


def noise(*shape, dtype=np.uint8):
    """Random pixels, the same in every run."""
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def photo(height=60, width=80):
    """A smooth colour image, which JPEG can hold well."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 3 % 256, x * 2 % 256, (x + y) % 256], axis=2).astype(np.uint8)


def saved(image, kind, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def pillow(data, mode=None):
    image = Image.open(io.BytesIO(data))
    return np.asarray(image if mode is None else image.convert(mode))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(height, width, *, bits=8, colour=0, extra=b"", pixels=b""):
    """A PNG made by hand, with whatever header."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def palette_image():
    image = Image.frombytes("P", (4, 3), bytes([0, 1, 2, 3] * 3))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    return image


SOURCES = {
    "jpg": (saved(photo(), "JPEG"), "RGB"),
    "jpg progressive": (saved(photo(), "JPEG", progressive=True), "RGB"),
    "jpg 4:4:4": (saved(photo(), "JPEG", subsampling=0), "RGB"),
    "jpg gray": (saved(noise(9, 7), "JPEG"), "L"),
    "jpg cmyk": (saved(Image.fromarray(photo()).convert("CMYK"), "JPEG"), "CMYK"),
    "png": (saved(noise(9, 7, 3), "PNG"), "RGB"),
    "png rgba": (saved(noise(9, 7, 4), "PNG"), "RGBA"),
    "png gray": (saved(noise(9, 7), "PNG"), "L"),
    "png 16 bit": (saved(noise(9, 7, dtype=np.uint16), "PNG"), "I;16"),
    "png palette": (saved(palette_image(), "PNG"), "P"),
    "png palette of 4 bit": (saved(palette_image(), "PNG", bits=4), "P"),
    "tif": (saved(noise(9, 7, 3), "TIFF", compression="tiff_lzw"), "RGB"),
    "tif 16 bit": (saved(noise(9, 7, dtype=np.uint16), "TIFF"), "I;16"),
    "tif cmyk": (saved(Image.fromarray(photo()).convert("CMYK"), "TIFF"), "CMYK"),
    "bmp": (saved(noise(9, 7, 3), "BMP"), "RGB"),
    "gif": (saved(palette_image(), "GIF"), "P"),
    "ppm": (saved(noise(9, 7, 3), "PPM"), "RGB"),
    "webp": (saved(noise(9, 7, 3), "WEBP", lossless=True), "RGB"),
    "webp rgba": (saved(noise(9, 7, 4), "WEBP", lossless=True), "RGBA"),
    "jp2": (saved(noise(64, 64, 3), "JPEG2000"), "RGB"),
}
every_source = pytest.mark.parametrize("name", SOURCES)


# --- probe --------------------------------------------------------------------------------


@every_source
def test_probe_says_what_pillow_says(name):
    """Fault 6: the content counts, there is no file name to be misled by."""
    data, mode = SOURCES[name]
    width, height = Image.open(io.BytesIO(data)).size
    assert probe(data) == ImageInfo(name.split()[0], height, width, mode)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_buffers_are_taken(kind):
    data = SOURCES["jpg"][0]
    assert probe(kind(data)) == probe(data)
    np.testing.assert_array_equal(decode(kind(data)), decode(data))


def test_png_modes_are_those_of_pillow():
    made = {}
    for bits in (1, 2, 4, 8, 16):
        for colour in (0, 2, 3, 4, 6):
            row = bytes(1 + bits)  # 8 pixels of one sample; more samples need more
            channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
            pixels = bytes(1) + row[1:] * channels
            palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
            data = png(1, 8, bits=bits, colour=colour, extra=palette, pixels=pixels)
            try:
                expected = Image.open(io.BytesIO(data)).mode
            except OSError:
                with pytest.raises(InputError, match="damaged"):
                    probe(data)
                continue
            assert probe(data).mode == expected
            made[bits, colour] = expected
    assert len(made) == 15


@every_source
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files_are_refused(name, share):
    """Fault 1."""
    data = SOURCES[name][0]
    cut = data[: int(len(data) * share)]
    with pytest.raises(InputError):
        probe(cut)
    with pytest.raises(InputError):
        decode(cut)


@pytest.mark.parametrize("name", ["jpg", "jpg progressive", "jpg gray", "jpg cmyk", "png", "webp"])
def test_every_length_of_a_cut_is_noticed(name):
    """Fault 2: also the last 20 bytes, also the last one."""
    data = SOURCES[name][0]
    for length in [*range(0, len(data), 41), *range(len(data) - 20, len(data))]:
        if name == "webp" and length == len(data) - 1:
            continue  # the last byte may be padding
        with pytest.raises(InputError):
            probe(data[:length])


@pytest.mark.parametrize("name", ["jpg", "jpg cmyk", "png", "gif", "tif", "bmp", "ppm", "jp2"])
def test_truncation_is_refused_whatever_the_switch_of_pillow_says(name, monkeypatch):
    """Fault 3."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = SOURCES[name][0]
    cut = data[: len(data) * 3 // 4]
    for function in (probe, decode, decode_pil):
        with pytest.raises(InputError):
            function(cut)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_threads_leave_the_switch_of_pillow_as_it_was(monkeypatch):
    """Fault 3."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole, cut = SOURCES["bmp"][0], SOURCES["bmp"][0][:-10]
    refused = []

    def work():
        for _ in range(50):
            decode(whole)
            try:
                decode(cut)
            except InputError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 200
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_fork_while_another_thread_opens_an_image_does_not_block_the_child():
    from datasets.base.image_pillow import _strict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        with _strict._lock:
            child = os.fork()
            if child == 0:
                os._exit(0 if probe(SOURCES["bmp"][0]).mode == "RGB" else 1)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        threading.Event().wait(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0


def test_an_empty_file_is_refused():
    """Fault 4."""
    for function in (probe, decode, decode_pil):
        with pytest.raises(InputError, match="0 bytes"):
            function(b"")


def test_text_is_refused_and_shown():
    """Fault 5."""
    with pytest.raises(InputError, match=r"not an image.*14 bytes that begin with b'hello, ") as caught:
        probe(b"hello, reader\n")
    assert caught.type is InputError


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS"),
        (b"%PDF-1.7\n", "PDF"),
        (b"SIMPLE  =                    T", "FITS"),
        (saved(noise(9, 7, 3), "ICO"), "ICO"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "avif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_formats_off_the_list_are_refused(data, what):
    """Fault 125: the name of the file does not matter here either."""
    for function in (probe, decode, decode_pil):
        with pytest.raises(UnsupportedImageError, match=what):
            function(data)


@pytest.mark.parametrize("colour", [0, 2])
def test_a_bomb_is_refused_by_its_header(colour):
    """Faults 9 and 124: here without any pixels, so nothing can have been decoded."""
    for function in (probe, decode, decode_pil):
        with pytest.raises(LimitError, match=r"13500 x 13500 = 182,250,000 pixels"):
            function(png(13500, 13500, colour=colour))


def test_bombs_of_other_formats_are_refused(monkeypatch):
    """Faults 9 and 124: also where the user has switched off the limit of Pillow."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    bmp = bytearray(saved(noise(9, 7, 3), "BMP"))
    bmp[18:26] = struct.pack("<II", 20000, 20000)
    jpeg = bytearray(SOURCES["jpg"][0])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 20000, 20000)
    for data in (bytes(bmp), bytes(jpeg)):
        for function in (probe, decode, decode_pil):
            with pytest.raises(LimitError, match="20000 x 20000"):
                function(data)


def test_a_limit_of_pillow_is_a_limit_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(LimitError):
        decode(SOURCES["bmp"][0])


def test_large_images_are_read_with_a_warning():
    """Fault 10."""
    assert probe(png(10000, 10000)).warning == "large: more than 89,478,485 pixels"
    assert MAX_PIXELS == 178_956_970


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_compressed_text_cannot_be_a_bomb(kind):
    """Fault 11: 4 MB of zeros in 4 kB."""
    bomb = chunk(kind, b"name\0\0" + zlib.compress(bytes(4 << 20)))
    data = png(1, 1, extra=bomb, pixels=bytes(2))
    try:
        assert decode(data).shape == (1, 1)  # newer Pillow leaves such texts out
    except LimitError:
        with pytest.raises(LimitError):
            probe(data)


def test_damaged_headers_are_refused():
    for data in (
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\0\0\0\0",
        b"\xff\xd8hello",
        b"\x89PNG\r\n\x1a\n",
        png(0, 5),
        png(5, 5, bits=3),
        png(5, 5).replace(b"IDAT", b"iDAT"),  # no pixels
    ):
        with pytest.raises(InputError):
            probe(data)
        with pytest.raises(InputError):
            decode(data)


def test_bytes_behind_the_end_of_a_jpeg_are_no_matter():
    data = SOURCES["jpg"][0] + b"trailer"
    assert probe(data) == probe(SOURCES["jpg"][0])
    np.testing.assert_array_equal(decode(data), decode(SOURCES["jpg"][0]))


def test_an_end_marker_in_a_thumbnail_is_not_the_end():
    thumbnail = b"\xff\xd8thumb\xff\xd9"
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    data = SOURCES["jpg"][0]
    data = data[:2] + segment + data[2:]
    assert probe(data).mode == "RGB"
    with pytest.raises(InputError, match="truncated"):
        probe(data[:-2])


def test_jpegs_of_12_bit_are_refused():
    data = bytearray(SOURCES["jpg"][0])
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedImageError, match="12 bits"):
        probe(bytes(data))


# --- decode -------------------------------------------------------------------------------


@every_source
def test_decode_gives_the_pixels_of_pillow(name):
    """Fault 13 among others."""
    data, mode = SOURCES[name]
    array = decode(data)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    np.testing.assert_array_equal(array, pillow(data))
    image = decode_pil(data)
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image), array)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name, (_, own) in SOURCES.items()
        for mode in ("L", "RGB", "RGBA")
        # these have a rule other than Pillow's, and tests of their own
        if own != "I;16" and (own != "RGBA" or mode == "RGBA")
    ],
)
def test_decode_converts_as_pillow_where_pillow_is_right(name, mode):
    data = SOURCES[name][0]
    np.testing.assert_array_equal(decode(data, mode), pillow(data, mode))
    np.testing.assert_array_equal(np.asarray(decode_pil(data, mode)), pillow(data, mode))


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_adobe_inverted_cmyk_is_read_as_pillow_does(transform):
    """Fault 13: Photoshop stores CMYK inverted, as Pillow does when it writes."""
    data = bytearray(saved(Image.fromarray(photo()).convert("CMYK"), "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = transform
    data = bytes(data)
    assert probe(data).mode == "CMYK"
    np.testing.assert_array_equal(decode(data, "RGB"), pillow(data, "RGB"))
    if transform == 0:  # the colours that went in, neither inverted nor shifted
        assert np.abs(decode(data, "RGB").astype(int) - photo()).mean() < 2


def test_a_flip_in_the_scan_is_decoded_as_pillow_does_or_refused():
    """Fault 7: what libjpeg can pass over gives Pillow's pixels."""
    rng = random.Random(0)
    source = saved(noise(64, 64, 3), "JPEG")
    outcomes = {"decoded": 0, "refused": 0}
    for _ in range(60):
        data = bytearray(source)
        data[rng.randrange(len(data) // 2, len(data) - 4)] ^= 1 << rng.randrange(8)
        try:
            np.testing.assert_array_equal(decode(bytes(data)), pillow(bytes(data)))
            outcomes["decoded"] += 1
        except InputError:
            outcomes["refused"] += 1
    assert outcomes["decoded"] > 40


def test_a_scan_that_ends_early_is_refused_although_an_end_marker_follows():
    """Fault 8: Pillow would fill the rest with gray."""
    data = SOURCES["jpg"][0]
    data = data[: len(data) * 3 // 4] + b"\xff\xd9"
    assert pillow(data).shape == (60, 80, 3)
    with pytest.raises(InputError, match="truncated"):
        decode(data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_ignored_unless_asked_for(orientation):
    """Fault 12."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(photo(), "JPEG", exif=exif)
    np.testing.assert_array_equal(decode(data), pillow(data))
    turned = decode(data, exif="apply")
    transposes = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    image = Image.open(io.BytesIO(data))
    if orientation in transposes:
        image = image.transpose(Image.Transpose(transposes[orientation]))
    np.testing.assert_array_equal(turned, np.asarray(image))
    assert decode_pil(data, exif="apply").size == image.size
    with pytest.raises(ConfigError, match="'ignore' or 'apply'"):
        decode(data, exif="yes")


def test_16_bit_is_scaled_never_saturated():
    """Fault 14."""
    values = np.array([[0, 128, 129, 255, 257, 32768, 65406, 65407, 65535]], np.uint16)
    expected = np.round(values / 257).astype(np.uint8)
    assert expected.max() == 255
    for kind in ("PNG", "TIFF"):
        data = saved(values, kind)
        np.testing.assert_array_equal(decode(data), values)
        assert decode(data).dtype == np.uint16
        np.testing.assert_array_equal(decode(data, "L"), expected)
        np.testing.assert_array_equal(decode(data, "RGB"), np.stack([expected] * 3, axis=2))
    big_endian = Image.frombytes("I;16B", (9, 1), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(to_array(big_endian), values)
    np.testing.assert_array_equal(to_array(big_endian, "L"), expected)


def test_every_8_bit_gray_survives_16_bit():
    gray = np.arange(256, dtype=np.uint8)[None]
    deep = to_array(gray, "I;16")
    assert (deep.dtype, deep.max()) == (np.uint16, 65535)
    np.testing.assert_array_equal(to_array(deep, "L"), gray)


def test_png_colours_of_16_bit_come_with_a_warning():
    """Fault 14."""
    pixels = b"\0" + struct.pack(">3H", 0x1234, 0xFFFF, 0x0080)
    data = png(1, 1, bits=16, colour=2, pixels=pixels)
    assert probe(data).warning == "16 bits per channel: read with 8"
    assert decode(data).tolist() == [[[0x12, 0xFF, 0x00]]]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_float_and_32_bit_images_are_refused(mode):
    """Fault 15."""
    image = Image.new(mode, (3, 2), 1)
    data = saved(image, "TIFF")
    for function in (probe, decode, decode_pil):
        with pytest.raises(UnsupportedImageError, match=repr(mode)):
            function(data)
    with pytest.raises(UnsupportedImageError):
        to_mode(image, "L")
    with pytest.raises(UnsupportedImageError):
        encode(image)


def test_palettes_keep_indices_or_give_their_colours():
    """Fault 16."""
    image = palette_image()
    for kind in ("PNG", "GIF", "TIFF", "BMP"):
        data = saved(image, kind)
        np.testing.assert_array_equal(decode(data, "RGB"), np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(decode(saved(image, "PNG")), np.asarray(image))


def test_transparent_palette_colours_become_white():
    """Fault 16."""
    data = saved(palette_image(), "PNG", transparency=bytes([0, 255, 128, 255]))
    expected = [[255, 255, 255], [0, 255, 0], [127, 127, 255], [10, 20, 30]]
    assert decode(data, "RGB")[0].tolist() == expected
    assert decode(data, "RGBA")[0, :, 3].tolist() == [0, 255, 128, 255]
    assert decode_pil(data).mode == "P"


def test_alpha_is_kept_or_laid_over_white():
    """Fault 17."""
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    data = encode(rgba)
    np.testing.assert_array_equal(decode(data), rgba)
    assert decode(data, "RGB").tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]
    assert decode(data, "L").tolist() == [[76, 255, 204]]
    la = Image.merge("LA", [Image.new("L", (1, 1), 0), Image.new("L", (1, 1), 51)])
    assert decode(encode(la), "L").tolist() == [[204]]
    assert decode(encode(la), "I;16").tolist() == [[204 * 257]]
    assert decode(encode(la)).tolist() == [[[0, 0, 0, 51]]]
    assert decode_pil(encode(la)).mode == "LA"


def test_a_colour_key_is_alpha_only_where_alpha_is_asked_for():
    """Fault 17."""
    key = np.array([[0, 7]], np.uint8)
    data = saved(key, "PNG", transparency=7)
    np.testing.assert_array_equal(decode(data, "L"), key)
    assert decode(data, "RGBA")[0, :, 3].tolist() == [255, 0]


def test_1_bit_is_0_and_255():
    """Fault 18."""
    bits = np.array([[True, False, True]])
    for data in (encode(bits), saved(Image.fromarray(bits), "TIFF", compression="group4")):
        assert probe(data).mode in ("1", "L")
        assert decode(data).tolist() == [[255, 0, 255]]
        assert decode(data, "L").tolist() == [[255, 0, 255]]
        assert decode(data).dtype == np.uint8
    assert to_array(Image.fromarray(bits)).tolist() == [[255, 0, 255]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_only_the_first_frame_is_read_and_a_warning_says_so(kind):
    """Faults 19 and 20."""
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "green", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert probe(data).warning == "animated: only the first frame is read"
    red = decode(data, "RGB")[4, 4].astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 2  # WebP is lossy here


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 65500), (65500, 1)])
def test_extreme_shapes_work(kind, shape):
    """Fault 21."""
    data = saved(noise(*shape), kind)
    info = probe(data)
    assert (info.height, info.width) == shape
    np.testing.assert_array_equal(decode(data), pillow(data))
    assert resize(decode(data), (3, 5)).shape == (3, 5)


@every_source
def test_random_damage_raises_nothing_but_input_errors(name):
    rng = random.Random(name)
    source = SOURCES[name][0]
    for _ in range(100):
        data = bytearray(source)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for function in (probe, decode, decode_pil):
            try:
                function(bytes(data), *(["RGB"] if function is decode_pil else []))
            except InputError as error:
                assert str(error)  # noqa: PT017


@pytest.mark.skipif(not REAL_IMAGES.is_dir(), reason=f"no real images in {REAL_IMAGES}")
def test_real_jpegs_decode_as_with_pillow():
    paths = sorted(REAL_IMAGES.glob("*/*"))[::10]
    assert len(paths) == 20
    for path in paths:
        data = path.read_bytes()
        np.testing.assert_array_equal(decode(data), pillow(data))
        np.testing.assert_array_equal(decode(data, "RGB"), pillow(data, "RGB"))


# --- modes and conversions ----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["CMYK", "P", "BGR", "rgb", "", "1"])
def test_unknown_modes_are_refused_with_the_choices(mode):
    """Fault 41."""
    for call in (
        lambda: to_mode(Image.new("RGB", (2, 2)), mode),
        lambda: ResizeAndConvert(mode=mode),
        lambda: decode(SOURCES["jpg"][0], mode),
        lambda: decode(SOURCES["png"][0], mode),
    ):
        with pytest.raises(ConfigError, match="L, RGB, RGBA, I;16"):
            call()


@every_source
def test_the_own_mode_can_always_be_asked_for(name):
    data, mode = SOURCES[name]
    assert decode_pil(data, mode).mode == mode
    np.testing.assert_array_equal(decode(data, mode), decode(data))


def test_tensors_arrays_images_and_files_are_the_same():
    array = noise(5, 7, 3)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    data = encode(array)
    for image in (array, tensor, Image.fromarray(array), data, EncodedImage(data, "a.png")):
        np.testing.assert_array_equal(to_array(image), array)
        np.testing.assert_array_equal(np.asarray(to_pil(image)), array)
        gray = np.asarray(Image.fromarray(array).convert("L"))
        np.testing.assert_array_equal(to_array(image, "L"), gray)
        np.testing.assert_array_equal(np.asarray(to_pil(image, "L")), gray)
        if not isinstance(image, bytes | EncodedImage):
            assert encode(image) == data


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", bool])
def test_gray_arrays_may_have_a_channel_axis_and_any_byte_order(dtype):
    array = (noise(4, 6) & 1).astype(dtype)
    expected = array * np.uint8(255) if dtype is bool else array
    np.testing.assert_array_equal(to_array(array), expected)
    np.testing.assert_array_equal(to_array(array[:, :, None]), expected)
    assert to_array(array).dtype.isnative


@pytest.mark.parametrize(
    "array",
    [
        noise(3, 8, 9),
        noise(8, 9, 2),
        noise(8),
        noise(8, 0),
        np.zeros((4, 4)),
        np.zeros((4, 4), np.int64),
        noise(4, 4, 3, dtype=np.uint16),
        torch.zeros(3, 4, 4),
        "image.png",
        None,
    ],
    ids=str,
)
def test_what_is_no_image_is_refused(array):
    for function in (to_array, to_pil, encode):
        with pytest.raises(UnsupportedImageError, match="is no image"):
            function(array)


def test_errors_name_the_file():
    for function in (to_array, to_pil):
        with pytest.raises(LimitError, match=r"^cats/1\.png: the image has"):
            function(EncodedImage(png(20000, 20000), "cats/1.png"))
        with pytest.raises(InputError, match=r"^not an image"):
            function(EncodedImage(b"text"))


# --- encode -------------------------------------------------------------------------------


def lossless_cases():
    rgb = Image.fromarray(noise(5, 7, 3))
    return {
        "1": Image.fromarray(noise(5, 7) > 100),
        "L": Image.fromarray(noise(5, 7)),
        "LA": Image.fromarray(noise(5, 7, 4)).convert("LA"),
        "I;16": Image.fromarray(noise(5, 7, dtype=np.uint16)),
        "P": palette_image(),
        "RGB": rgb,
        "RGBA": Image.fromarray(noise(5, 7, 4)),
        "CMYK": rgb.convert("CMYK"),
    }


@pytest.mark.parametrize("mode", lossless_cases())
def test_encoding_is_lossless_and_repeatable(mode):
    image = lossless_cases()[mode]
    assert image.mode == mode
    data = encode(image)
    assert data == encode(image.copy())
    assert probe(data).extension == ("tif" if mode == "CMYK" else "png")
    back = decode_pil(data)
    assert back.mode == mode
    assert back.tobytes() == image.tobytes()
    if mode == "P":
        assert back.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_a_palette_keeps_its_transparency():
    data = saved(palette_image(), "PNG", transparency=bytes([0, 255, 128, 255]))
    again = encode(decode_pil(data))
    np.testing.assert_array_equal(decode(again, "RGBA"), decode(data, "RGBA"))


def test_webp_is_lossless_without_a_quality():
    rgba = noise(9, 8, 4)
    np.testing.assert_array_equal(decode(encode(rgba, "webp")), rgba)
    assert len(encode(photo(), "webp", 30)) < len(encode(photo(), "webp", 100))


def test_jpeg_takes_a_quality():
    sizes = [len(encode(photo(), "jpeg", quality)) for quality in (10, 80, None, 100)]
    assert sizes == sorted(sizes)
    assert probe(encode(photo(), "jpeg")).extension == "jpg"


@pytest.mark.parametrize(
    ("mode", "encoding"),
    [
        ("RGBA", "jpeg"),
        ("P", "jpeg"),
        ("I;16", "jpeg"),
        ("1", "jpeg"),
        ("L", "webp"),
        ("CMYK", "webp"),
    ],
)
def test_no_encoding_changes_the_mode_silently(mode, encoding):
    with pytest.raises(ConfigError, match=f"{encoding}.*cannot hold.*{mode}"):
        encode(lossless_cases()[mode], encoding)


@pytest.mark.parametrize(
    "arguments",
    [("gif",), ("PNG",), ("jpeg", 0), ("jpeg", 101), ("webp", 9.5), ("jpeg", True), ("png", 90)],
)
def test_wrong_encodings_and_qualities_are_refused(arguments):
    """Fault 41."""
    with pytest.raises(ConfigError):
        encode(photo(), *arguments)


# --- resize -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(30, 40), (7, 93), (224, 224), (60, 80), (1, 1)])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_bilinear_is_within_one_gray_level_of_pillow(size, channels):
    array = noise(60, 80, channels) if channels else noise(60, 80)
    if channels == 4:
        array[:, :, 3] = 255  # Pillow weighs by alpha; here channels are independent
    result = resize(array, size)
    expected = Image.fromarray(array).resize(size[::-1], Image.Resampling.BILINEAR)
    assert result.flags.c_contiguous
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - np.asarray(expected)).max() <= 1


def test_nearest_is_that_of_pillow_for_every_size():
    array = np.arange(101 * 67).reshape(101, 67).astype(np.int32)
    for height, width in [(h, 3 * h % 211 + 1) for h in range(1, 240)]:
        image = Image.fromarray(array).resize((width, height), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(resize(array, (height, width), nearest=True), np.asarray(image))


def test_nearest_invents_no_values_and_keeps_types():
    mask = np.array([[0, 40000], [7, 65535]], np.uint16)
    result = resize(mask, (5, 9), nearest=True)
    assert result.dtype == np.uint16
    assert set(np.unique(result)) == {0, 7, 40000, 65535}
    assert resize(np.array([[True, False]]), (2, 4), nearest=True).dtype == bool


def test_16_bit_bilinear_keeps_values():
    array = np.full((50, 60), 65535, np.uint16)
    array[:, 30:] = 12345
    result = resize(array, (25, 20))
    assert result.dtype == np.uint16
    assert (result.max(), result.min()) == (65535, 12345)


def test_16_bit_bilinear_rounds():
    assert resize(np.array([[0, 1, 1, 1]], np.uint16), (1, 1)).tolist() == [[1]]  # of 7 / 8


def test_float_arrays_are_not_resized_bilinearly():
    with pytest.raises(UnsupportedImageError, match="nearest=True"):
        resize(np.zeros((4, 4)), (2, 2))


def test_read_only_and_flipped_arrays_are_resized():
    array = noise(20, 30, 3)
    flipped = array[::-1]
    array.flags.writeable = False
    np.testing.assert_array_equal(resize(array, (10, 9)), resize(array.copy(), (10, 9)))
    np.testing.assert_array_equal(resize(flipped, (10, 9)), resize(flipped.copy(), (10, 9)))


@pytest.mark.parametrize("size", [224, (0, 5), (5, -1), (5,), (1, 2, 3), (2.5, 2), "ab", None])
def test_wrong_sizes_are_refused(size):
    """Fault 38."""
    for call in (lambda: resize(photo(), size), lambda: ResizeAndConvert(size)):
        with pytest.raises(ConfigError, match="height, width"):
            call()


# --- ResizeAndConvert ---------------------------------------------------------------------


def test_resize_and_convert_returns_the_kind_that_it_was_given():
    """Fault 40: the size is (height, width)."""
    change = ResizeAndConvert((32, 48), "RGB")
    data = encode(photo(), "jpeg")
    expected = resize(decode(data, "RGB"), (32, 48))
    array = decode(data)
    for image in (Image.fromarray(array), EncodedImage(data), data):
        result = change(image)
        assert isinstance(result, Image.Image)
        assert result.size == (48, 32)
        np.testing.assert_array_equal(np.asarray(result), expected)
    np.testing.assert_array_equal(change(array), expected)
    tensor = change(torch.from_numpy(array).permute(2, 0, 1))
    assert tensor.shape == (3, 32, 48)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("mode", images.MODES)
@every_source
def test_resize_and_convert_takes_every_image(name, mode):
    data = SOURCES[name][0]
    result = ResizeAndConvert((6, 5), mode)(Image.open(io.BytesIO(data)))
    assert (result.mode, result.size) == (mode, (5, 6))
    np.testing.assert_array_equal(np.asarray(result), resize(decode(data, mode), (6, 5)))
    assert ResizeAndConvert((6, 5), mode)(torch.zeros(3, 9, 9, dtype=torch.uint8)).ndim == 3


def test_resize_and_convert_is_a_value():
    change = ResizeAndConvert(size=[np.int64(32), 48], mode="L")
    assert repr(change) == "ResizeAndConvert(size=(32, 48), mode='L')"
    assert pickle.loads(pickle.dumps(change)) == change
    assert ResizeAndConvert() == ResizeAndConvert((224, 224), "RGB")


# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [images, utils.utils])
def test_exports_are_sorted_and_there(module):
    assert module.__all__ == sorted(module.__all__, key=lambda n: (not n.isupper(), n))
    assert all(hasattr(module, name) for name in module.__all__)
    assert utils.utils.ResizeAndConvert is ResizeAndConvert
