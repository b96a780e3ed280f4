"""What every input becomes: a map-style dataset of named values.

A source tells how many samples there are, reads one, and says what it is. It
never changes what it reads. It is pickled into worker processes, so it holds
paths and packed arrays, no open files and no Python object per sample.

Values are what the field kinds take: `EncodedImage` (the bytes of an image
file, stored untouched), PIL image, ndarray, tensor, int, float, str, bytes,
dict or list.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.fields import Field

__all__ = ["Source", "digest_of"]


def digest_of(*parts: bytes | NDArray[np.int64]) -> str:
    """Return an xxh3-128 over byte strings and arrays of whole numbers."""
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.astype("<i8").tobytes())
    return digest.hexdigest()


class Source(ABC):
    """A map-style dataset of samples, each a dict from field name to value.

    Attributes
    ----------
    sample_type : {"tuple", "dict"}
        What a reader of the converted split hands out.
    fields : mapping of str to Field
        The fields that are known without reading a sample, for example class
        labels with their names. Fields not in here are inferred from the
        first sample.
    ignored : mapping of str to int
        What was found beside the samples and left out: reason to count.
    threads : bool
        Whether samples are read by threads as fast as by processes: it must be safe, and
        take little of Python's own time.
    """

    sample_type: Literal["tuple", "dict"] = "tuple"
    fields: Mapping[str, Field] = {}
    ignored: Mapping[str, int] = {}
    threads: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read sample `index` (0 <= index < len); any exception is reported with its name."""

    def name(self, index: int) -> str:
        """Return what messages call the sample: a file's path, if it has one."""
        return f"sample {index}"

    def check(self) -> None:  # noqa: B027  # most sources know nothing before they read
        """Raise `InputError` for samples that are known to be bad without decoding them.

        Called before anything is written, unless bad samples are to be skipped.
        """

    def content(self) -> dict[str, Any]:
        """Return what the input is, as JSON values; part of the published manifest.

        No absolute paths and no times: the same files in another place are the
        same input.
        """
        return {"num_samples": len(self)}

    def state(self) -> str:
        """Return a digest that changes whenever the input does; guards a resume.

        Unlike `content` it may cover paths, sizes and modification times.
        """
        return ""
