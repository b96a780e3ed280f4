"""Fixtures of the loader's tests: readers, and the check that no thread outlives a test."""

import gc

import pytest

from shardwright.memmap.converter import MemmapConverter
from shardwright.memmap.reader import MemmapReader
from shardwright.pyarrow_ipc.converter import IpcConverter
from shardwright.pyarrow_ipc.reader import IpcReader
from tests.training.loader.photos import Photos, loader_threads


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("loader")
    IpcConverter(Photos(), root / "jpeg", images_per_file=20, num_workers=0).convert()
    MemmapConverter(Photos(), root / "raw", images_per_file=20, num_workers=0, shape=(48, 40)).convert()
    return root


@pytest.fixture
def jpeg(paths):
    return IpcReader(paths / "jpeg")


@pytest.fixture
def raw(paths):
    return MemmapReader(paths / "raw", output="tensor")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    if loader_threads():
        gc.collect()  # an iterator in a reference cycle, such as a traceback
    assert loader_threads() == []
