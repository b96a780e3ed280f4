"""What the peers share: the records to store, what is made of them, and the DataLoader."""

import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.jobs import MEAN, STD, Contender, Job, Run, count_images

__all__ = ["Batches", "Finish", "contenders_of", "converting", "files_of", "pil_transform", "records", "torch_loader"]

Write = Callable[[Job, Path], None]
Open = Callable[[Job], Any]


def files_of(folder: Path) -> list[tuple[Path, int]]:
    """Return the files of class folders with their labels, sorted."""
    classes = sorted(p.name for p in folder.iterdir())
    return [(f, label) for label, name in enumerate(classes) for f in sorted((folder / name).iterdir())]


def records(job: Job) -> Iterator[tuple[bytes, int]]:
    """Yield what is to be stored: the bytes of a file or of an image's pixels, and the label."""
    if job.setting.startswith("raw") and job.work != "convert-fixed":
        array, labels = np.load(job.array, mmap_mode="r"), np.load(job.labels).tolist()
        yield from ((row.tobytes(), label) for row, label in zip(array, labels, strict=True))
    else:
        read = _fixed_pixels if job.work == "convert-fixed" else Path.read_bytes
        yield from ((read(path), label) for path, label in files_of(job.folder))


def _fixed_pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR).tobytes()


def pil_transform() -> Callable[[Any], torch.Tensor]:
    """Return torchvision's training transform of PIL images."""
    from torchvision.transforms import v2

    transform: Callable[[Any], torch.Tensor] = v2.Compose(
        [
            v2.RandomResizedCrop(224, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return transform


class Finish:
    """Makes of stored bytes what the workload wants."""

    def __init__(self, job: Job) -> None:
        self.work = job.work
        self.side = int(job.setting[3:]) if job.setting.startswith("raw") else 0
        self.transform = pil_transform() if job.work == "train" else None

    def __call__(self, data: Any) -> torch.Tensor:
        """Return one image."""
        if self.work == "read":
            return torch.frombuffer(data, dtype=torch.uint8).view(self.side, self.side, 3)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        return torch.from_numpy(np.array(image)) if self.transform is None else self.transform(image)


class Batches(torch.utils.data.Dataset[Any]):
    """Map-style data set over a library that is opened once per process.

    Parameters
    ----------
    job : Job
    length : int
    open_store : callable
        Path of the store to a function from indices to (bytes, label) pairs.
    """

    def __init__(self, job: Job, length: int, open_store: Callable[[Path], Callable[[list[int]], Any]]) -> None:
        self.store, self.length, self.open_store, self.finish = job.store, length, open_store, Finish(job)
        self._opened: tuple[int, Any] = (0, None)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, int]]:
        """Read many at once, as a DataLoader asks."""
        if self._opened[0] != os.getpid():
            self._opened = os.getpid(), self.open_store(self.store)
        return [(self.finish(data), int(label)) for data, label in self._opened[1](indices)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": (0, None)}


def keep_list(samples: list[Any]) -> Any:
    """Collate images of different sizes: as a list."""
    images, labels = zip(*samples, strict=True)
    return list(images), torch.tensor(labels)


def torch_loader(dataset: Any, job: Job, **options: Any) -> Callable[[], int]:
    """Return a function that goes through one epoch of a DataLoader, the same for every peer."""
    options = {"shuffle": True, "batch_size": job.batch, "num_workers": job.workers} | options
    if job.work == "decode" and options["batch_size"] is not None:
        options.setdefault("collate_fn", keep_list)
    loader = DataLoader(dataset, persistent_workers=job.workers > 0, **options)
    return lambda: count_images(iter(loader))


def converting(write: Write) -> Callable[[Job], Run]:
    """Return the `make` of a contender that converts into a new folder each time."""

    def make(job: Job) -> Run:
        numbers = itertools.count()
        length = len(files_of(job.folder))

        def once() -> int:
            target = job.scratch / str(next(numbers))
            target.mkdir()
            write(job, target)
            return length

        return Run(once, before=os.sync)  # so that none pays for writing back what another wrote

    return make


def contenders_of(name: str, write: Write, epochs: Open, *, fixed: bool = True) -> list[Contender]:
    """Return what a library behind a DataLoader takes part in.

    Parameters
    ----------
    name : str
    write : callable
        (job, folder): store `records` of the job.
    epochs : callable
        Job to a function that goes through one epoch.
    fixed : bool
        Whether to measure conversion to pixels of one size, too.
    """
    converts = ("convert-kept", "convert-fixed") if fixed else ("convert-kept",)
    return [
        Contender(
            name,
            ("read", "decode", "train"),
            ("raw224", "original"),
            epochs,
            prepare=lambda job: write(job, job.store),
            store=name,
        ),
        Contender(name, converts, ("many", "more"), converting(write), threads=(1,)),
    ]
