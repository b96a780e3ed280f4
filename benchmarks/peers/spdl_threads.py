"""SPDL: FFmpeg's decoders on threads, over files in class folders."""

import random
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.jobs import MEAN, STD, Contender, Job
from benchmarks.peers.common import files_of

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("spdl",)


def contenders() -> list[Contender]:
    """Return decoding and training over the files as they are."""
    import spdl.io

    spdl.io.demux_config()  # loads FFmpeg's libraries; missing ones are told here

    return [Contender("SPDL", ("decode", "train"), ("original", "full", "jpeg256"), _epochs)]


def _epochs(job: Job) -> Callable[[], int]:
    from spdl.pipeline import PipelineBuilder

    files = [(str(path), label) for path, label in files_of(job.folder)]
    load = _decoded if job.work == "decode" else _cropped
    collate = _listed if job.work == "decode" else _normalized

    def once() -> int:
        order = random.sample(files, len(files))
        pipeline = (
            PipelineBuilder()
            .add_source(order)
            .pipe(load, concurrency=job.threads)
            .aggregate(job.batch)
            .pipe(collate)
            .add_sink(2)
            .build(num_threads=job.threads)
        )
        with pipeline.auto_stop():
            return sum(len(labels) for _, labels in pipeline)

    return once


def _decoded(item: tuple[str, int]) -> tuple[Any, int]:
    import spdl.io

    frames = spdl.io.decode_packets(spdl.io.demux_image(item[0]), filter_desc="format=pix_fmts=rgb24")
    return spdl.io.to_torch(spdl.io.convert_frames(frames)), item[1]


def _cropped(item: tuple[str, int]) -> tuple[Any, int]:
    import spdl.io
    from torchvision.transforms import RandomResizedCrop

    packets = spdl.io.demux_image(item[0])
    whole = torch.empty((1, packets.height, packets.width), device="meta")
    top, left, height, width = RandomResizedCrop.get_params(whole, [0.08, 1.0], [3 / 4, 4 / 3])
    flip = "hflip," if random.random() < 0.5 else ""
    wanted = f"crop={width}:{height}:{left}:{top},scale=224:224:flags=bilinear,{flip}format=pix_fmts=rgb24"
    return spdl.io.to_torch(spdl.io.convert_frames(spdl.io.decode_packets(packets, filter_desc=wanted))), item[1]


def _listed(items: list[tuple[Any, int]]) -> Any:
    images, labels = zip(*items, strict=True)
    return list(images), torch.tensor(labels)


def _normalized(items: list[tuple[Any, int]]) -> Any:
    images, labels = zip(*items, strict=True)
    mean, std = torch.tensor(MEAN) * 255, torch.tensor(STD) * 255
    return (torch.stack(images).float() - mean) / std, torch.tensor(labels)
