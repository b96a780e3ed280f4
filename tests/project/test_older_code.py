"""Code written for the import paths of `datasets` and `utils` runs unchanged."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

CODE = """
from torch.utils.data import DataLoader
from torchvision.transforms import ToTensor
from datasets.memmap.memmap_converter import MemmapConverter
from datasets.hdf5.hdf5_converter import HDF5Converter
from datasets.parquet.parquet_converter import ParquetConverter
from datasets.pyarrow_ipc.pyarrow_ipc_converter import IpcConverter
from datasets.tar.tar_converter import TarConverter
from datasets.memmap.memmap_reader import MemmapReader
from datasets.hdf5.hdf5_reader import HDF5Reader
from datasets.parquet.parquet_reader import ParquetReader
from datasets.pyarrow_ipc.pyarrow_ipc_reader import IpcReader
from datasets.tar.tar_reader import TarReader
from utils.utils import ResizeAndConvert
from utils.loader import ThreadedLoader
from utils.transforms import EvalTransform, TrainTransform
from utils.samplers import GlobalSampler
from utils.distributed import distributed

if __name__ == "__main__":
    MemmapConverter(input_data="images", output_path="memmap", images_per_file=1000, batch_size=100,
                    num_workers=4, shape=(224, 224), im_mode="RGB", dist=False, rank=None, num_replicas=None).convert()
    HDF5Converter(input_data="images", output_path="hdf5", images_per_file=1000, batch_size=100,
                  num_workers=0, shape=(32, 24), im_mode="L").convert()
    for converter, name in ((IpcConverter, "ipc"), (ParquetConverter, "parquet"), (TarConverter, "tar")):
        converter(input_data="images", output_path=name, images_per_file=1000, batch_size=32, num_workers=4).convert()
    reader = MemmapReader(dataset_path="memmap", transform=ToTensor(), target_transform=None)
    for images, labels in DataLoader(reader, batch_size=4, num_workers=2):
        assert images.shape[1:] == (3, 224, 224)
    init = MemmapReader.worker_init_fn
    assert sum(len(labels) for _, labels in DataLoader(reader, num_workers=1, worker_init_fn=init)) == 6
    assert HDF5Reader(dataset_path="hdf5")[0][0].mode == "L"
    assert IpcReader("ipc")[5][1] == ParquetReader("parquet")[5][1] == TarReader("tar")[5][1] == 1
    small = ResizeAndConvert(size=(224, 224), mode="RGB")(ParquetReader("parquet")[0][0])
    assert small.size == (224, 224)
    assert ResizeAndConvert((20, 10), "L")(small).size == (10, 20)
    loader = ThreadedLoader(TarReader("tar"), batch_size=3, transform=TrainTransform(16), seed=0)
    assert [len(labels) for _, labels in loader] == [3, 3]
    print("done")
"""


def test_snippets_of_older_projects_run(tmp_path: Path) -> None:
    for number in range(6):
        folder = tmp_path / "images" / ("cat", "dog")[number // 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (number * 40, 5, 6)).save(folder / f"{number}.png")
    (tmp_path / "old.py").write_text(CODE)
    done = subprocess.run(
        [sys.executable, "old.py"], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("done\n"), done.stderr
