"""FFCV."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.jobs import MEAN, STD, Contender, Job
from benchmarks.peers.common import converting, files_of

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("ffcv", "numba", "opencv-python")
NAME = "train.beton"
REPEATS = 8


class Arrays:
    """Pixels and labels, indexed."""

    def __init__(self, job: Job) -> None:
        self.images, self.labels = np.load(job.array, mmap_mode="r"), np.load(job.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return np.array(self.images[index]), int(self.labels[index])


class Files:
    """Decoded files and labels, indexed; FFCV encodes them again."""

    def __init__(self, job: Job, side: int = 0) -> None:
        self.files, self.side = files_of(job.folder), side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.files[index]
        image = Image.open(path).convert("RGB")
        size = (self.side, self.side)
        return (image.resize(size, Image.Resampling.BILINEAR) if self.side else image), label


def contenders() -> list[Contender]:
    """Return FFCV's loader; it stores JPEGs encoded anew at quality 90, never the original bytes."""
    import ffcv  # noqa: F401  # a missing library is told here

    def prepare(job: Job) -> None:
        _write(job, job.store)

    settings = ("raw224", "raw256", "jpeg256", "full", "original")
    return [
        Contender("FFCV", ("read", "decode", "train"), settings, _epochs, prepare=prepare, store="ffcv"),
        Contender("FFCV", ("convert-kept",), ("many",), converting(_write), threads=(1,)),
        Contender("FFCV", ("convert-fixed",), ("more",), converting(_write)),
    ]


def _write(job: Job, target: Path) -> None:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    raw = job.setting.startswith("raw") or job.work == "convert-fixed"
    longest = 256 if job.setting == "jpeg256" else None
    image = RGBImageField(write_mode="raw" if raw else "jpg", max_resolution=longest, jpeg_quality=90)
    source = Arrays(job) if job.setting.startswith("raw") else Files(job, 224 if raw else 0)
    workers = job.threads if job.work.startswith("convert") else 2
    writer = DatasetWriter(str(target / NAME), {"image": image, "label": IntField()}, num_workers=workers)
    writer.from_indexed_dataset(source, chunksize=16)


def _epochs(job: Job) -> Callable[[], int]:
    from ffcv.fields.decoders import IntDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.reader import Reader
    from ffcv.transforms import Squeeze, ToTensor

    path = str(job.store / NAME)
    # A long epoch, as real ones are: its buffers are made anew for every epoch.
    indices = np.tile(np.arange(Reader(path).num_samples, dtype="uint64"), REPEATS if job.work == "read" else 1)
    loader = Loader(
        path,
        batch_size=job.batch,
        num_workers=job.threads,
        order=OrderOption.RANDOM,
        indices=indices,
        drop_last=False,
        pipelines={"image": _pipeline(job), "label": [IntDecoder(), ToTensor(), Squeeze()]},
    )
    return lambda: sum(len(images) for images, _ in loader)


def _pipeline(job: Job) -> list[Any]:
    from ffcv.fields.decoders import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage

    if job.work == "read":
        return [SimpleRGBImageDecoder(), ToTensor(), ToTorchImage()]
    if job.work == "decode":  # it has no decoder for images of different sizes that does not resize
        return [CenterCropRGBImageDecoder((224, 224), 1.0), ToTensor(), ToTorchImage()]
    mean, std = np.array(MEAN) * 255, np.array(STD) * 255
    normalize = NormalizeImage(mean, std, np.float32)
    return [RandomResizedCropRGBImageDecoder((224, 224)), RandomHorizontalFlip(), normalize, ToTensor(), ToTorchImage()]
