"""NVIDIA DALI's pipeline on the CPU, over files in class folders."""

import time
from typing import Any

from benchmarks.jobs import MEAN, STD, Contender, Job, Run
from benchmarks.peers.common import files_of

__all__ = ["PACKAGES", "contenders"]

PACKAGES = ("nvidia-dali-cuda120",)
AHEAD = 2


def contenders() -> list[Contender]:
    """Return decoding and training over the files as they are."""
    import nvidia.dali  # noqa: F401  # a missing library is told here

    return [Contender("DALI, CPU", ("decode", "train"), ("original", "full", "jpeg256"), _run)]


def _run(job: Job) -> Run:
    pipe = _pipeline(job)
    batches = -(-len(files_of(job.folder)) // job.batch)

    def once() -> int:
        return sum(len(pipe.run()[1]) for _ in range(batches))

    def drain() -> None:
        for _ in range(AHEAD):
            pipe.run()  # made ahead while nobody counted

    # It makes batches ahead after the last one was taken; let it, before another is measured.
    return Run(once, before=drain, after=lambda: time.sleep(0.3))


def _pipeline(job: Job) -> Any:
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(  # type: ignore[untyped-decorator]
        batch_size=job.batch, num_threads=job.threads, device_id=None, prefetch_queue_depth=AHEAD
    )
    def define() -> Any:
        files, labels = fn.readers.file(file_root=str(job.folder), random_shuffle=True, name="files")
        if job.work == "decode":
            return fn.decoders.image(files, device="cpu", output_type=types.RGB), labels
        images = fn.decoders.image_random_crop(files, device="cpu", random_area=(0.08, 1.0), num_attempts=10)
        images = fn.resize(images, size=(224, 224), interp_type=types.INTERP_LINEAR, antialias=True)
        images = fn.crop_mirror_normalize(
            images,
            mirror=fn.random.coin_flip(),
            mean=[m * 255 for m in MEAN],
            std=[s * 255 for s in STD],
            output_layout="HWC",
        )
        return images, labels

    pipe = define()
    pipe.build()
    return pipe
