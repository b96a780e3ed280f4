"""Files of other programs are read as they are, by all that reads converted splits."""

import random
import tarfile
from pathlib import Path

import numpy as np
import pytest

from shardwright.base.errors import ConfigError
from shardwright.base.index_files import index_files
from shardwright.base.merge import merge
from shardwright.base.reader import open_reader
from shardwright.base.verify import verify
from shardwright.memmap.converter import MemmapConverter
from shardwright.tar.converter import TarConverter
from shardwright.training.loader import ThreadedLoader
from tests.base.index_files.files import (
    COUNT,
    LABELS,
    NAMES,
    PIXELS,
    PNGS,
    WRITERS,
    by_h5py,
    by_hf_parquet,
    by_tarfile,
    by_webdataset,
    foreign,
    state,
)


@foreign
@pytest.mark.parametrize("writer", WRITERS)
def test_files_of_other_programs_are_read_and_stay_as_they_are(writer: str, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    write(tmp_path)
    before = state(tmp_path)
    manifest = index_files(tmp_path)
    assert (manifest.format, manifest.num_samples, manifest.data_dir) == (name, COUNT, ".")
    assert state(tmp_path) == before
    reader = open_reader(tmp_path)
    assert reader.targets.tolist() == LABELS
    order = random.Random(0).sample(range(COUNT), COUNT)
    for n, sample in zip(order, reader.__getitems__(order), strict=True):
        image = sample[0] if isinstance(sample, tuple) else sample["image"]
        assert np.array_equal(np.asarray(image), PIXELS[n])
    if manifest.fields[0].shape is None:
        found = open_reader(tmp_path).read_columns(range(COUNT))["image"]
        assert list(map(bytes, found)) == PNGS
    assert verify(tmp_path).problems == ()


@foreign
def test_what_is_beside_the_images_is_read_too(tmp_path: Path) -> None:
    by_webdataset(tmp_path)
    index_files(tmp_path)
    sample = open_reader(tmp_path)[7]
    assert (sample["json"], sample["caption"]) == ({"n": 7}, "number 7")
    (tmp_path / "hf").mkdir()
    by_hf_parquet(tmp_path / "hf")
    index_files(tmp_path / "hf")
    reader = open_reader(tmp_path / "hf")
    assert (reader.classes, reader[3]["weight"]) == (NAMES, 0.5)
    (tmp_path / "h5").mkdir()
    by_h5py(tmp_path / "h5")
    index_files(tmp_path / "h5" / "train.hdf5")
    assert open_reader(tmp_path / "h5").classes == NAMES


@foreign
def test_everything_that_reads_converted_splits_reads_these(tmp_path: Path) -> None:
    by_tarfile(tarfile.PAX_FORMAT)(tmp_path)
    index_files(tmp_path)
    reader = open_reader(tmp_path, output="numpy")
    batches = list(ThreadedLoader(reader, batch_size=5, num_threads=2))
    assert [int(label) for _, labels in batches for label in labels] == LABELS
    MemmapConverter(tmp_path, tmp_path.parent / f"{tmp_path.name}-px", shape=(6, 7), num_workers=0).convert()
    pixels = open_reader(f"{tmp_path}-px", output="numpy")
    assert np.array_equal(np.stack([image for image, _ in pixels]), PIXELS)
    TarConverter(reader.select([3, 1]), tmp_path.parent / f"{tmp_path.name}-two", num_workers=0).convert()
    assert open_reader(f"{tmp_path}-two", output="bytes")[0][0] == PNGS[3]
    with pytest.raises(ConfigError, match="only indexes files"):
        merge([reader, reader], tmp_path / "merged")
