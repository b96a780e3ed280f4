"""Files that change after they were indexed are damage."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright.base.errors import CorruptShardError
from shardwright.base.index_files import index_files
from shardwright.base.reader import open_reader
from shardwright.base.verify import verify
from tests.base.index_files.files import LABELS, PNGS, by_pyarrow_file, by_pyarrow_parquet, table


def test_a_changed_file_is_damage(tmp_path: Path) -> None:
    by_pyarrow_file(tmp_path)
    index_files(tmp_path)
    path = tmp_path / "train.arrow"
    data = bytearray(path.read_bytes())
    at = data.index(PNGS[5]) + 40
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptShardError, match="sample 5"):
        open_reader(tmp_path)[5]
    assert [p.sample for p in verify(tmp_path).problems] == [None, 5]
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptShardError, match="bytes"):
        open_reader(tmp_path)


def test_verify_finds_an_index_that_is_not_that_of_the_files(tmp_path: Path) -> None:
    by_pyarrow_parquet(tmp_path)
    index_files(tmp_path)
    other = table().set_column(1, "label", pa.array([2 - n for n in LABELS]))
    pq.write_table(other, tmp_path / "train.parquet", compression="none", use_dictionary=["label"], row_group_size=5)
    problems = [str(problem) for problem in verify(tmp_path).problems]
    assert problems
    assert all("train.parquet" in problem for problem in problems)
