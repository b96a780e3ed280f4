"""Compressed arrays are read by position, in memory that does not grow with them."""

import gzip
import tracemalloc

import numpy as np

from shardwright.arrays.source import ArraySource
from shardwright.base.storage import inflate as array_bytes
from shardwright.base.storage.inflate import GZIP, InflatedBytes, file_bytes


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
