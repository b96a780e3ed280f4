"""The manifest of an index names no file outside of its folder."""

from pathlib import Path

import pytest

from shardwright.base.errors import UnsafeDataError
from shardwright.base.index_files import index_files
from shardwright.base.split.manifest import Manifest, Shard, load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import StoredFile
from tests.base.index_files.files import by_numpy


def test_a_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    by_numpy(tmp_path)
    index_files(tmp_path)
    paths = SplitPaths(tmp_path, "train")
    good = load_manifest(paths)
    values = {f: getattr(good, f) for f in Manifest.__dataclass_fields__ if f != "num_samples"}
    for data_dir in ("..", "/etc", "metadata", "", None):
        paths.manifest.write_bytes(Manifest(**{**values, "data_dir": data_dir}).to_bytes())
        with pytest.raises(UnsafeDataError, match="data_dir"):
            load_manifest(paths)
    for name in ("../x", "a/b", "a\\b", ".hidden", "..", "C:x", "a\0", "a\nb", "", "x" * 256):
        with pytest.raises(UnsafeDataError, match="safe file name"):
            StoredFile(name, 1, "0" * 16)
    odd = (Shard(1, (StoredFile("a b.npy", 1, "0" * 16),)),)
    paths.manifest.write_bytes(Manifest(**{**values, "data_dir": "data", "shards": odd}).to_bytes())
    with pytest.raises(UnsafeDataError, match="this library writes"):
        load_manifest(paths)
