"""Predict how large and how slow a conversion will be, from some of its images."""

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import ShardwrightError
from shardwright.base.formats import get_format
from shardwright.base.open_source import open_source
from shardwright.base.progress import readable_bytes
from shardwright.base.source import Source
from shardwright.cli.console import say
from shardwright.cli.constructor import options_of
from shardwright.cli.exit_codes import DONE

__all__ = ["Estimate", "estimate", "print_estimates"]

SAMPLES = 64


class _Some(Source):
    """Some samples of a source, evenly spread."""

    def __init__(self, source: Source, count: int) -> None:
        self.source = source
        self.indices = np.linspace(0, len(source) - 1, count).astype(int).tolist()
        self.fields, self.sample_type = source.fields, source.sample_type

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.source[self.indices[index]]

    def name(self, index: int) -> str:
        """Return the sample's own name."""
        return self.source.name(self.indices[index])


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a conversion of the whole input will take.

    Parameters
    ----------
    nbytes : float
        Bytes on disk.
    seconds : float
        With one process.
    """

    nbytes: float
    seconds: float


def estimate(source: Source, format_name: str, options: Mapping[str, Any]) -> Estimate:
    """Convert some samples to a temporary folder and scale what that took.

    Parameters
    ----------
    source : Source
    format_name : str
    options : mapping
        Of the converter; those that are not about the stored bytes are left out.

    Raises
    ------
    ShardwrightError
        If the format cannot take these samples or options.
    """
    converter = get_format(format_name).load_converter()
    known = options_of(converter).keys() - {"dist", "rank", "num_replicas"}
    kept = {name: value for name, value in options.items() if name in known}
    some = _Some(source, min(SAMPLES, len(source)))
    with tempfile.TemporaryDirectory(prefix="shardwright-") as folder:
        kept |= {"num_workers": 0, "images_per_file": len(some), "progress": False, "overwrite": False}
        start = time.perf_counter()
        converter(some, Path(folder) / "out", **kept).convert()
        seconds = time.perf_counter() - start
        nbytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return Estimate(nbytes * len(source) / len(some), seconds * len(source) / len(some))


def print_estimates(format_names: Iterable[str], options: dict[str, Any]) -> int:
    """Print one line per format, and write nothing that stays."""
    options = dict(options)
    split = options.pop("split", "train")
    labels = options.pop("labels", None)
    source = open_source(options.pop("input_data"), split, labels=labels, splits=split is None)
    options.pop("output_path")
    if isinstance(options.get("classes"), str):  # of another split: they change no size
        del options["classes"]
    count = min(SAMPLES, len(source))
    say(f"{len(source):,} images, predicted from {count} of them; time with one process, less with --num-workers")
    for name in format_names:
        try:
            found = estimate(source, name, options)
        except ShardwrightError as error:
            say(f"{name:<12} not possible: {error}")
            continue
        rate = len(source) / found.seconds
        say(f"{name:<12} {readable_bytes(found.nbytes):>10}  {found.seconds:>9,.1f} s  {rate:>8,.0f} images/s")
    return DONE
