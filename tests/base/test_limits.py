"""What is too large for a format, larger than usual, or of another shape than it should be."""

import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from shardwright.base.errors import CorruptShardError, IncompleteDatasetError, LimitError, StorageError
from shardwright.base.fields import Field
from shardwright.base.values.columns import ByteColumn
from shardwright.base.values.restore import decompress
from shardwright.pyarrow_ipc import arrow_columns
from shardwright.tar import converter as tar_converter
from tests.conformance.tools import SHAPE, Store, hashes, numbered


def test_a_value_that_a_format_cannot_hold_is_a_limit_error():
    """Fault 48."""
    assert len(tar_converter._header("0.bin", 8**11 - 1)) == 512
    with pytest.raises(LimitError, match="8589934592 bytes; USTAR ends at 8 GiB, use parquet"):
        tar_converter._header("0.bin", 8**11)
    huge = np.empty(2**31, np.uint8)  # memory that is never touched
    with pytest.raises(LimitError, match=r"2147483648 bytes does not fit Arrow's binary type.*use tar"):
        arrow_columns._bytes(pa.binary(), ByteColumn([huge]), "image", {})


@pytest.mark.parametrize("name", ["memmap", "parquet", "pyarrow_ipc", "tar"])
def test_an_image_of_100_megabytes(name: str, tmp_path: Path):
    """Fault 131."""
    file = tmp_path / "in" / "cat" / "0.bmp"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (5800, 5800), (7, 8, 9)).save(file)
    assert file.stat().st_size > 100_000_000
    store = Store(name, tmp_path)
    value = store.open(store.convert(tmp_path / "in"), output="bytes", check=True)[0][0]
    assert value == (bytes([7, 8, 9]) * (SHAPE[0] * SHAPE[1]) if store.fixed else file.read_bytes())
    file.unlink()


@pytest.mark.parametrize("size", [0, 11, 13, 2**24])
def test_a_value_that_inflates_to_another_size_is_corrupt(size: int):
    """Faults 109, 120: no more is inflated than the field's shape needs."""
    field = replace(Field("x", "array", "|u1", (3, 4)), compression="gzip")
    assert decompress(field, zlib.compress(bytes(12))) == bytes(12)
    with pytest.raises(CorruptShardError, match="field 'x'"):
        decompress(field, zlib.compress(bytes(size)))


def test_the_disk_of_one_rank_is_full(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fault 86: it raises, the others end and name its shards, and a later run completes the split."""
    wanted = hashes(store.convert(numbered(7), "whole", images_per_file=2))

    def convert(rank: int) -> None:
        ranks = {"rank": rank, "num_replicas": 2, "wait_timeout": 0.1}
        store.convert(numbered(7), "out", images_per_file=2, **ranks)

    with pytest.raises(IncompleteDatasetError, match="lacks 2 shards: 1, 3"):
        convert(0)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        with pytest.raises(StorageError, match="No space left"):
            convert(1)
    with pytest.raises(IncompleteDatasetError):
        store.open(tmp_path / "out")
    assert hashes(store.convert(numbered(7), "out", images_per_file=2)) == wanted


def no_space(fd: int) -> None:
    raise OSError(28, "No space left on device")
