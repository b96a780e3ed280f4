"""torchvision's ImageFolder behind a DataLoader: what most people start from."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.jobs import Contender, Job
from benchmarks.peers.common import converting, pil_transform, records, torch_loader

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("torchvision", "torch", "pillow")


def read_tensor(path: str) -> torch.Tensor:
    """Decode with torchvision.io."""
    from torchvision.io import ImageReadMode, decode_image

    pixels: torch.Tensor = decode_image(path, ImageReadMode.RGB)
    return pixels


def contenders() -> list[Contender]:
    """Return ImageFolder with both decoders, and a plain loop that writes pixels."""
    every = ("raw224", "original", "full", "jpeg256")
    return [
        Contender("ImageFolder", ("read", "decode", "train"), every, _with_pil),
        Contender("ImageFolder, torchvision.io", ("decode",), ("original",), _with_io),
        Contender("PIL loop into .npy", ("convert-fixed",), ("more",), converting(_write_npy), threads=(1,)),
        Contender("tarfile loop", ("convert-kept",), ("many",), converting(_write_tar), threads=(1,)),
    ]


def _with_pil(job: Job) -> Callable[[], int]:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transforms: dict[str, Any] = {
        "read": lambda: v2.Compose([v2.Resize((224, 224)), v2.PILToTensor()]),
        "decode": v2.PILToTensor,
        "train": pil_transform,
    }
    return torch_loader(ImageFolder(str(job.folder), transform=transforms[job.work]()), job)


def _with_io(job: Job) -> Callable[[], int]:
    from torchvision.datasets import ImageFolder

    return torch_loader(ImageFolder(str(job.folder), loader=read_tensor), job)


def _write_npy(job: Job, target: Path) -> None:
    pixels = [np.frombuffer(data, np.uint8).reshape(224, 224, 3) for data, _ in records(job)]
    np.save(target / "images.npy", np.stack(pixels))


def _write_tar(job: Job, target: Path) -> None:
    import io
    import tarfile

    with tarfile.open(target / "train.tar", "w") as tar:
        for number, (data, label) in zip(itertools.count(), records(job), strict=False):
            for suffix, content in (("jpg", data), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{number:09d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
