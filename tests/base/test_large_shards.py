"""Values and shards of true size beyond the limits of 32 bits."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import IncompleteDatasetError, LimitError
from tests.conformance.tools import Store

SIDE = 2**15  # of a square of one gibibyte


@pytest.mark.parametrize("name", ["parquet", "pyarrow_ipc"])
def test_a_value_of_two_gibibytes_is_refused_where_offsets_have_31_bits(name: str, tmp_path: Path):
    """Fault 48: before a copy of it is made, and nothing is left of the shard."""
    store = Store(name, tmp_path)
    with pytest.raises(LimitError, match=r"a value of 2147483648 bytes does not fit .* \(2 GiB\); use tar"):
        store.convert([{"x": bytes(2**31)}])  # memory that is never written takes no room
    with pytest.raises(IncompleteDatasetError):
        store.open(tmp_path / "out")
    assert list((tmp_path / "out" / "data").iterdir()) == []


class Squares:
    """Five gibibytes: zeros, but for the first and the last byte of each value."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Any]:
        square = np.zeros((SIDE, SIDE), np.uint8)
        square[0, 0] = square[-1, -1] = index + 1
        return {"square": square, "number": index}


@pytest.mark.skipif(
    not os.environ.get("SHARDWRIGHT_NIGHTLY"), reason="writes 5 GB for each format: set SHARDWRIGHT_NIGHTLY=1"
)
def test_a_shard_of_five_gibibytes(store: Store, tmp_path: Path):
    """Fault 48: a column, an array and an archive of which no 32 bits count the bytes."""
    path = store.convert(Squares(), tmp_path / "out", images_per_file=5, batch_size=1)
    assert max(file.stat().st_size for file in store.shards(path)) > 5 * 2**30
    reader = store.open(path, check=True, output="numpy")
    for number in (4, 0, 3):
        sample = reader[number]
        found = sample["square"]
        assert (sample["number"], found.shape) == (number, (SIDE, SIDE))
        assert (int(found[0, 0]), int(found[-1, -1]), int(found[1:-1].max())) == (number + 1, number + 1, 0)
    for file in store.shards(path):
        file.unlink()
