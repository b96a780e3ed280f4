"""The workloads, and the ratios that the library is meant to reach in them."""

from dataclasses import dataclass

__all__ = ["GOALS", "PEERS", "WORKLOADS", "Goal", "Workload"]

PEERS = (
    "peers.shardwright",
    "limits",
    "peers.torchvision_folder",
    "peers.ffcv_beton",
    "peers.dali_pipeline",
    "peers.spdl_threads",
    "peers.mosaic_streaming",
    "peers.litdata_chunks",
    "peers.webdataset_tar",
    "peers.huggingface",
    "peers.lance_table",
    "peers.array_record",
)
"""Modules, in the order in which they take turns."""


@dataclass(frozen=True)
class Workload:
    """One table of the report.

    Parameters
    ----------
    work, setting, threads
        As in `jobs.Job`.
    title : str
    rounds : int
        At most so many rounds, where one is long.
    """

    work: str
    setting: str
    threads: int
    title: str
    rounds: int = 99

    @property
    def key(self) -> str:
        """Its name on the command line and in the JSON."""
        return f"{self.work}-{self.setting}-{self.threads}"


def _both(work: str, setting: str, title: str, rounds: int = 99) -> tuple[Workload, ...]:
    return tuple(
        Workload(work, setting, threads, f"{title}, {count}", rounds)
        for threads, count in ((1, "one thread"), (2, "two threads or workers"))
    )


WORKLOADS = (
    *_both("read", "raw224", "Read raw 224x224 uint8, collated batches of 64, shuffled"),
    *_both("decode", "original", "Decode the original JPEGs at full size"),
    *_both("train", "raw256", "RandomResizedCrop(224), flip, normalize to float32, from raw 256x256"),
    *_both("train", "jpeg256", "Crop, flip, normalize, from JPEG, longer side at most 256"),
    *_both("train", "full", "Crop, flip, normalize, from full-size JPEG of quality 90"),
    *_both("train", "original", "Crop, flip, normalize, from the original JPEGs"),
    *_both("convert-kept", "many", "Class folder into shards, bytes kept", 3),
    *_both("convert-fixed", "more", "Class folder into raw 224x224", 3),
)


@dataclass(frozen=True)
class Goal:
    """At least `wanted` times: `above` in one workload over `below` in the same, or in another.

    ``below`` may be several names; the fastest of those that were measured counts.
    """

    above: str
    workload: str
    below: tuple[str, ...]
    wanted: float
    other: str = ""


_LIMIT_READ = ("limit: memcpy gather, one thread",)
_TABLES = ("mosaicml-streaming", "LitData", "webdataset", "Hugging Face datasets", "Lance", "ArrayRecord")
_BEHIND = (*_TABLES, "ImageFolder")


def _per_threads() -> list[Goal]:
    goals = []
    for n in (1, 2):
        read = f"read-raw224-{n}"
        goals += [
            goal
            for name in ("memmap", "memmap, mmap=True")
            for goal in (
                Goal(name, read, _LIMIT_READ, 0.8 if n == 1 else 1.1),
                Goal(name, read, ("limit: memcpy gather, three buffers",), 0.8 if n == 1 else 1.1),
                Goal(name, read, ("FFCV",), 1.5),
                Goal(name, read, _BEHIND, 5.0),
            )
        ]
        goals += [
            Goal("hdf5", read, ("memmap",), 0.95),
            Goal("memmap", f"train-raw256-{n}", ("FFCV",), 1.15),
            Goal("tar", f"train-jpeg256-{n}", ("FFCV",), 1.15),
            Goal("tar", f"train-full-{n}", ("FFCV",), 1.4),
            Goal("tar", f"train-original-{n}", ("FFCV",), 1.05),
        ]
        goals += [
            Goal(name, f"train-{setting}-{n}", ("limit: in-memory prototype",), 1.0)
            for name, setting in (("memmap", "raw256"), ("tar", "jpeg256"), ("tar", "full"), ("tar", "original"))
        ]
    return goals


GOALS = (
    *_per_threads(),
    Goal("tar", "decode-original-2", ("limit: simplejpeg",), 0.95),
    Goal("tar", "decode-original-2", ("limit: simplejpeg, two batches kept",), 0.95),
    Goal("tar", "decode-original-2", ("DALI, CPU",), 1.0),
    Goal("tar", "decode-original-2", ("ImageFolder",), 2.0),
    Goal("parquet", "decode-original-2", ("tar",), 0.95),
    Goal("pyarrow_ipc", "decode-original-2", ("tar",), 0.95),
    Goal("tar", "decode-original-2", ("tar, in order",), 0.9),
    Goal("tar", "train-original-2", ("ImageFolder",), 1.95),
    Goal("tar", "convert-kept-many-1", ("limit: concatenate",), 0.6),
    Goal("pyarrow_ipc", "convert-kept-many-1", ("limit: concatenate",), 0.6),
    Goal("parquet", "convert-kept-many-1", ("limit: concatenate",), 0.5),
    Goal("tar", "convert-kept-many-1", ("limit: concatenate + fsync",), 0.6),
    Goal("pyarrow_ipc", "convert-kept-many-1", ("limit: concatenate + fsync",), 0.6),
    Goal("parquet", "convert-kept-many-1", ("limit: concatenate + fsync",), 0.5),
    Goal("memmap", "convert-fixed-more-1", ("limit: decoder + resize",), 0.9),
    Goal("memmap", "convert-fixed-more-2", ("memmap",), 1.8, "convert-fixed-more-1"),
)
