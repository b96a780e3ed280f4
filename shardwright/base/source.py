"""Source: the contract of inputs.

An input is one question, asked once: which samples are there, and where do their
bytes lie? A converter copies the answer, `index_files` publishes it.

Every input becomes a map-style dataset of named values. A source tells how many
samples there are, reads one, says what it is, and, where the values lie in files
as they are, where that is (`places`). It never changes what it reads. It is
pickled into worker processes, so it holds paths and packed arrays, no open files
and no Python object per sample.

Values are what the field kinds take: `EncodedImage` (the bytes of an image file,
stored untouched), PIL image, ndarray, tensor, int, float, str, bytes, dict or list.

A technology whose samples lie in files derives from `FilesSource` (see
`file_source`) and says only what lies in one file.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.storage.ranges import Ranges

__all__ = ["Places", "Source", "digest_of", "not_in_place"]


def digest_of(*parts: bytes | NDArray[np.int64]) -> str:
    """Return an xxh3-128 over byte strings and arrays of whole numbers."""
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.astype("<i8").tobytes())
    return digest.hexdigest()


def not_in_place(what: Any, reason: str) -> InputError:
    """Return the error of `places` where values do not lie in files as they are: what would work instead."""
    return InputError(
        f"{what} cannot be indexed in place ({reason}): convert it, for example with "
        f"ParquetConverter(input_data={str(what)!r}, output_path=...).convert()"
    )


@dataclass(frozen=True, slots=True)
class Places:
    """What lies in one file, or in a few that belong together: one shard of an indexed split.

    Parameters
    ----------
    count : int
        Samples.
    fields : tuple of Field
        All fields, as they are stored there.
    ranges : mapping of str to Ranges
        Of every field whose values lie there as they are, where.
    scalars : mapping of str to ndarray
        Of every scalar field its values, shape (count,).
    files : tuple of Path
        The files that hold these samples; all that belong together, in one order.
    left_out : mapping of str to int
        What is not among the fields: reason to the number of values.
    elsewhere : mapping of str to str
        Of every other field, why its values do not lie there as they are: compressed, ...
    """

    count: int
    fields: tuple[Field, ...]
    ranges: Mapping[str, Ranges]
    scalars: Mapping[str, NDArray[Any]]
    files: tuple[Path, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


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
    labels_from : str
        Where the labels were found, in words for people: "folder names", "column label of
        metadata.csv". Paths in it are relative to the input. Empty: there are none, or they are the
        dataset's own values.
    has_class_folders : bool
        Whether the classes are the names of folders, which `within` opens.
    holds_files : bool
        Whether each sample is a file with an image, whose path is the sample's name.
    array_layouts : mapping of str to str
        Of fields that hold arrays of numbers, the order of the axes where it is known: "NHWC", ...
    threads : bool
        Whether samples are read by threads as fast as by processes: it must be safe, and
        take little of Python's own time.
    keeps_samples : bool
        Whether the values of a sample stay what they are when others are read. They are copied where that is not
        known: many datasets fill one buffer anew.
    nbytes : int or None
        Bytes of the input, where they are known without reading it.
    format_name : str
        The format whose reader reads the values at their `places`.
    """

    sample_type: Literal["tuple", "dict"] = "tuple"
    fields: Mapping[str, Field] = {}
    ignored: Mapping[str, int] = {}
    labels_from: str = ""
    has_class_folders: bool = False
    holds_files: bool = False
    array_layouts: Mapping[str, str] = {}
    threads: bool = False
    keeps_samples: bool = False
    nbytes: int | None = None
    format_name: str = ""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read sample `index` (0 <= index < len); any exception is reported with its name."""

    def values(self, name: str) -> Iterator[Any]:
        """Yield the values of one field, in the order of the samples."""
        return (self[index][name] for index in range(len(self)))

    def name(self, index: int) -> str:
        """Return what messages call the sample: a file's path, if it has one."""
        return f"sample {index}"

    def places(self) -> Sequence[Places]:
        """Return where the values lie in files as they are, shard by shard, in the order of the samples.

        Fields and class names are those of the samples; a field that does not lie there as it is
        is missing, and counted under `left_out` with the reason.

        Raises
        ------
        InputError
            If no value lies in a file as it is; the message says why, and what to do instead.
        """
        raise not_in_place(type(self).__name__, "its samples are made by code")

    def flat(self) -> "Source":
        """Return the source whose folders are no classes: images in all of them, without labels."""
        return self

    def within(self, name: str) -> "Source":
        """Return one of the class folders as a source of its own; its folders are the classes then."""
        raise NotImplementedError(f"{type(self).__name__} has no folders")

    def listing(self) -> Mapping[str, NDArray[Any]] | None:
        """Return packed arrays of which `from_listing` makes the same source without a scan.

        ``None`` where it spares none: then each rank opens the input itself. They are asked for
        only if the record of the format names the class whose `from_listing` takes them (`listed`).
        """
        return None

    @classmethod
    def from_listing(cls, path: Path, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the source of a path, given what `listing` returned of it, maybe on another machine."""
        raise NotImplementedError(f"{cls.__name__} makes no listing")

    def changed(self) -> str | None:
        """Return the file that is not any more what it was when the source was made, if there is one."""
        return None

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
