"""A split of raw arrays, in place of the loader's photos."""

import pytest

from shardwright.memmap.converter import MemmapConverter
from shardwright.memmap.reader import MemmapReader
from tests.training.loader.edges.arrays import samples


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    root = tmp_path_factory.mktemp("edges") / "raw"
    pairs = [tuple(sample.values()) for sample in samples()]
    MemmapConverter(pairs, root, images_per_file=7, num_workers=0, shape=None).convert()
    return root


@pytest.fixture
def raw(path):
    return MemmapReader(path, output="tensor")
