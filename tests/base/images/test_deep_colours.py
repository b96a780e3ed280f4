"""Colours of 16 bits: every reader gives ``round(v / 257)``, and what is cut is counted."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardwright.base.images import decode
from shardwright.base.images.probe import CUT, probe
from shardwright.base.reader import open_reader
from shardwright.base.writing.pipeline import DEEP_GRAY
from shardwright.memmap.converter import MemmapConverter
from shardwright.parquet.converter import ParquetConverter

VALUES = np.random.default_rng(5).integers(0, 65536, (7, 9, 3), np.uint16)
VALUES[0, 0] = (255, 511, 65535)
WANTED = np.rint(VALUES / 257).astype(np.uint8)


def png(values: np.ndarray, colour: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def ppm(values: np.ndarray, top: int = 65535) -> bytes:
    return f"P6 {values.shape[1]} {values.shape[0]} {top}\n".encode() + values.astype(">u2").tobytes()


def tiff(values: np.ndarray, order: str = "<") -> bytes:
    """An uncompressed TIFF of one strip."""
    data = values.astype(f"{order}u2").tobytes()
    height, width, channels = values.shape
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, 200), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 300), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data)),
    ]  # fmt: skip
    file = (
        (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + struct.pack(f"{order}H", len(entries))
    )
    for tag, kind, count, value in entries:
        packed = struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value)
        file += struct.pack(f"{order}HHI", tag, kind, count) + packed
    file += struct.pack(f"{order}I", 0)
    return file.ljust(200, b"\0") + struct.pack(f"{order}3H", 16, 16, 16).ljust(100, b"\0") + data


FILES = {"png": png(VALUES), "ppm": ppm(VALUES), "tiff, little": tiff(VALUES), "tiff, big": tiff(VALUES, ">")}


@pytest.mark.parametrize("kind", FILES)
def test_colours_are_rounded_and_counted(kind: str, tmp_path: Path) -> None:
    data = FILES[kind]
    assert probe(data).warning == CUT
    assert np.array_equal(decode(data), WANTED)
    assert np.array_equal(decode(data, "RGB"), WANTED)
    (tmp_path / "in" / "c").mkdir(parents=True)
    (tmp_path / "in" / "c" / f"a.{kind[:4].strip(',')}").write_bytes(data)
    ParquetConverter(tmp_path / "in", tmp_path / "out", num_workers=0).convert()
    reader = open_reader(tmp_path / "out", output="numpy")
    assert reader.manifest.ignored == {CUT: 1}
    assert np.array_equal(reader[0][0], WANTED)
    assert open_reader(tmp_path / "out", output="bytes")[0][0] == data  # the file itself keeps all bits


def test_transparent_colours_are_rounded_too() -> None:
    values = np.dstack([VALUES, VALUES[:, :, :1]])
    assert np.array_equal(decode(png(values, colour=6)), np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize("bits", [10, 12])
def test_fewer_bits_in_16_are_counted(bits: int) -> None:
    assert probe(ppm(VALUES >> (16 - bits), top=2**bits - 1)).warning == CUT


def test_eight_bits_are_not_counted() -> None:
    for form in ("PNG", "TIFF", "PPM", "JPEG2000"):
        file = io.BytesIO()
        Image.fromarray(WANTED).save(file, form)
        assert probe(file.getvalue()).warning == ""


@pytest.mark.parametrize("kind", ["file", "picture", "array"])
def test_gray_of_16_bits_that_becomes_8_is_counted(kind: str, tmp_path: Path) -> None:
    gray = VALUES[:, :, 0]
    picture = Image.fromarray(gray)
    (tmp_path / "in" / "c").mkdir(parents=True)
    picture.save(tmp_path / "in" / "c" / "a.png")
    data = {"file": tmp_path / "in", "picture": [(picture, 0)], "array": [(gray, 0)]}[kind]
    MemmapConverter(data, tmp_path / "rgb", shape=None, im_mode="RGB", num_workers=0).convert()
    assert open_reader(tmp_path / "rgb").manifest.ignored == {DEEP_GRAY: 1}
    MemmapConverter(data, tmp_path / "deep", shape=None, im_mode="I;16", num_workers=0).convert()
    reader = open_reader(tmp_path / "deep", output="numpy")
    assert reader.manifest.ignored == {}
    assert np.array_equal(np.squeeze(reader[0][0]), gray)
