"""Files that are cut, changed or empty are refused; what a decoder may pass over is not."""

import random
import struct

import numpy as np
import pytest

from shardwright.base.errors import InputError
from shardwright.base.images import decode, decode_pil, probe
from tests.base.images.pictures import SOURCES, every_source, noise, pillow, png, saved


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
