"""Export tar files in webdataset's layout, with the lists that wids and DALI read."""

from pathlib import Path

from shardwright.base.export import Samples
from shardwright.tar.converter import TarConverter

__all__ = ["export_webdataset"]


def export_webdataset(samples: Samples, output: Path) -> None:
    """Write ``data/<split>-00000-of-00004.tar``, and ``metadata`` for wids, DALI and this library.

    Parameters
    ----------
    samples : Samples
    output : Path
    """
    TarConverter(
        samples,
        output,
        images_per_file=samples.images_per_file,
        num_workers=0,
        split=samples.split,
        progress=samples.progress,
    ).convert()
