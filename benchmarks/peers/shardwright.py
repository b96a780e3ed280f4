"""The library that is measured, through its public names."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import Sampler

from benchmarks.jobs import Contender, Job, Run
from benchmarks.peers.common import converting, pil_transform, torch_loader
from shardwright.base.formats import get_format
from shardwright.base.reader import open_reader
from shardwright.training.loader import ThreadedLoader
from shardwright.training.transforms import TrainTransform

__all__ = ["FIXED", "FLEXIBLE", "PACKAGES", "contenders", "convert", "stored"]

PACKAGES = ("shardwright", "torch", "numpy", "simplejpeg", "pyarrow", "h5py")
FIXED = ("memmap", "hdf5")
FLEXIBLE = ("tar", "parquet", "pyarrow_ipc")
SHARD = 256
REPEATS = 8

Make = Callable[[Job], Run | Callable[[], int]]


class Epochs(Sampler[int]):
    """Several epochs' orders, one after the other: a long epoch, as real ones are."""

    def __init__(self, length: int, repeats: int) -> None:
        self.length, self.repeats = length, repeats

    def __len__(self) -> int:
        return self.length * self.repeats

    def __iter__(self) -> Iterator[int]:
        for _ in range(self.repeats):
            yield from torch.randperm(self.length).tolist()


def convert(name: str) -> Callable[[Job, Any], None]:
    """Return a function that converts the job's images into a folder, in the format of that name."""

    def write(job: Job, target: Any) -> None:
        workers = job.threads if job.work == "convert-fixed" else job.workers
        options: dict[str, Any] = {"images_per_file": SHARD, "num_workers": workers, "progress": False}
        if job.work.startswith("convert"):
            options["images_per_file"] = 512
        if name in FIXED:
            side = int(job.setting[3:]) if job.setting.startswith("raw") else 224
            source: Any = Pixels(job) if job.setting.startswith("raw") else job.folder
            options |= {"shape": (side, side)}
        else:
            source = job.folder
        get_format(name).load_converter()(source, target / "set", **options).convert()

    return write


class Pixels(torch.utils.data.Dataset[Any]):
    """The pixels of a raw setting and their labels."""

    def __init__(self, job: Job) -> None:
        import numpy as np

        self.images, self.labels = np.load(job.array, mmap_mode="r"), np.load(job.labels).tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self.images[index], self.labels[index]


def contenders() -> list[Contender]:
    """Return all formats with the loader, and one with a DataLoader and plain transforms."""
    return [*_of_fixed(), *_of_flexible(), *_converting()]


def _of_fixed() -> Iterator[Contender]:
    for name in FIXED:
        yield stored(name, name, "read", ("raw224",), _loader())
        yield stored(name, name, "train", ("raw256",), _loader())
    yield stored("memmap, mmap=True", "memmap", "read", ("raw224",), _loader(mmap=True))
    yield stored("hdf5, mmap=True", "hdf5", "read", ("raw224",), _loader(mmap=True))
    yield stored("memmap, hashes checked", "memmap", "read", ("raw224",), _loader(check=True))
    yield stored("memmap, DataLoader", "memmap", "read", ("raw224",), _data_loader)


def _of_flexible() -> Iterator[Contender]:
    every = ("original", "full", "jpeg256")
    for name in FLEXIBLE:
        yield stored(name, name, "decode", ("original",), _loader())
        yield stored(name, name, "train", every if name == "tar" else ("original",), _loader())
    yield stored("tar, in order", "tar", "decode", ("original",), _loader(shuffle=False))
    yield stored("tar, decoder=fast", "tar", "train", every, _loader(decoder="fast"))
    yield stored("tar, DataLoader", "tar", "decode", ("original",), _data_loader)
    yield stored("tar, DataLoader, plain v2", "tar", "train", ("original",), _data_loader)
    yield stored("tar, loader, plain v2", "tar", "train", ("original",), _plain_transform)


def stored(name: str, form: str, work: str, settings: tuple[str, ...], make: Make) -> Contender:
    """Return a contender that reads what the converter of a format wrote."""
    return Contender(name, (work,), settings, make, prepare=lambda job: convert(form)(job, job.store), store=form)


def _converting() -> Iterator[Contender]:
    for name in FIXED:
        yield Contender(name, ("convert-fixed",), ("more",), converting(convert(name)))
    for name in FLEXIBLE:
        yield Contender(name, ("convert-kept",), ("many",), converting(convert(name)))


def _loader(*, shuffle: bool = True, **options: Any) -> Callable[[Job], Run]:
    def make(job: Job) -> Run:
        reader = open_reader(job.store / "set", output="numpy", **options)
        order = Epochs(len(reader), REPEATS if job.work == "read" else 1) if shuffle else None
        loader = ThreadedLoader(
            reader,
            batch_size=job.batch,
            sampler=order,
            num_threads=job.threads,
            transform=TrainTransform(224) if job.work == "train" else None,
        )
        return Run(lambda: sum(len(labels) for _, labels in loader))

    return make


def _data_loader(job: Job) -> Callable[[], int]:
    if job.work == "train":
        return torch_loader(open_reader(job.store / "set", transform=pil_transform()), job)
    output = "numpy" if job.work == "read" else "tensor"  # as the other libraries' pixels: height, width, channels
    return torch_loader(open_reader(job.store / "set", output=output), job)


def _plain_transform(job: Job) -> Callable[[], int]:
    reader = open_reader(job.store / "set", transform=pil_transform())
    loader = ThreadedLoader(reader, batch_size=job.batch, shuffle=True, num_threads=job.threads)
    return lambda: sum(len(labels) for _, labels in loader)
