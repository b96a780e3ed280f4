"""Images that are files of their own cannot be indexed in place; the message says what to do."""

from pathlib import Path
from typing import Any

import pytest
from torchvision.datasets import ImageFolder

from shardwright.base.errors import InputError
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.folders.segmentation import ParallelFoldersSource
from tests.conformance.tools import make_folder

COUNT = 6


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", COUNT)


def test_a_folder_of_images_has_to_be_converted(photos: Path) -> None:
    wanted = rf"{photos} cannot be indexed in place \(every image is a file of its own\): convert it, .*input_data="
    for given in (photos, photos / "cat"):
        with pytest.raises(InputError, match=wanted.replace(str(photos), str(given))):
            index_files(given)
    assert not (photos / "metadata").exists()


def test_so_have_a_dataset_of_files_and_images_with_masks(photos: Path) -> None:
    sources: list[Any] = [open_source(ImageFolder(str(photos))), ParallelFoldersSource(photos, photos)]
    for source in sources:
        with pytest.raises(InputError, match=r"every image is a file of its own.*convert it"):
            source.places()


def test_sources_of_files_know_their_bytes(photos: Path) -> None:
    nbytes = sum(path.stat().st_size for path in photos.rglob("*") if path.is_file())
    assert open_source(photos).nbytes == nbytes
    assert open_source(ImageFolder(str(photos))).nbytes == nbytes
    assert ParallelFoldersSource(photos, photos).nbytes == 2 * nbytes
