"""Read TFRecord files that are indexed in place."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shardwright.base.fields import Field
from shardwright.base.reader import Reader
from shardwright.base.source import Places
from shardwright.base.storage.ranges import Ranges

__all__ = ["TFRecordReader"]


class TFRecordReader(Reader):
    """A split of TFRecord files that `index_files` has indexed; see `Reader`.

    Examples
    --------
    >>> reader = TFRecordReader("records")  # doctest: +SKIP
    >>> image, label = reader[0]  # doctest: +SKIP
    """

    format_name = "tfrecord"

    @staticmethod
    def _read_scalars(path: Path, fields: tuple[Field, ...]) -> Mapping[str, np.ndarray]:
        scalars = _places(path).scalars
        return {f.name: scalars[f.name] for f in fields if f.is_scalar}

    @staticmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        ranges = _places(path).ranges
        return {f.name: ranges[f.name] for f in fields if not f.is_scalar}


def _places(path: Path) -> Places:
    """Return where the values lie in one file, whose labels need not be all that there are."""
    from shardwright.tfrecord.source import TFRecordSource  # readers do without protobuf

    class AnyLabels(TFRecordSource):
        def _label_offset(self, *_arguments: object) -> int:
            return 0

    (found,) = AnyLabels(path).places()
    return found
