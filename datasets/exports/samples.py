"""What is exported: samples of any input, one at a time, and the fields that they have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from datasets.base import images, masks
from datasets.base.errors import InputError, ShardwrightError
from datasets.base.fields import Field, check_fields
from datasets.base.images import EncodedImage
from datasets.base.manifest import SPLIT_NAME
from datasets.base.options import check_choice, check_whole
from datasets.base.progress import Progress
from datasets.base.publish import split_names
from datasets.base.values import infer_field
from datasets.sources import open_source
from datasets.sources.source import Source
from datasets.sources.split import SplitSource

__all__ = ["ChosenSource", "Samples", "image_file", "open_samples"]


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of an export.

    Parameters
    ----------
    source : Source
    fields : tuple of Field
    split : str
        For the names of files.
    images_per_file : int
    progress : bool, optional
        Progress bar; ``None``: only on a terminal.
    """

    source: Source
    fields: tuple[Field, ...]
    split: str
    images_per_file: int
    progress: bool | None

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield one sample after the other: field name to value, as sources give them."""
        with Progress(len(self), self.progress) as bar:
            for index in range(len(self)):
                yield self.sample(index)
                bar.add(1)

    def sample(self, index: int) -> dict[str, Any]:
        """Return one sample, with the chosen fields only."""
        try:
            sample = self.source[index]
            return {f.name: sample[f.name] for f in self.fields}
        except ShardwrightError:
            raise
        except KeyError as error:
            raise InputError(f"{self.source.name(index)} has no {error}, which the first sample has") from error

    @property
    def image(self) -> Field | None:
        """The first image field."""
        return next((f for f in self.fields if f.kind == "image"), None)

    @property
    def label(self) -> Field | None:
        """The field that says the class."""
        labels = [f for f in self.fields if f.kind == "class_label" or (f.kind == "int" and f.name == "label")]
        return labels[0] if labels else None


def open_samples(
    input_data: Any,
    split: str,
    columns: Sequence[str] | None,
    data_path: Any,
    images_per_file: int,
    progress: bool | None,
) -> Samples:
    """Open an input for an export; the arguments are those of `export`.

    Raises
    ------
    ConfigError
        If an argument is wrong.
    InputError
        If there are no samples.
    """
    check_whole("images_per_file", images_per_file, 1)
    if not isinstance(split, str) or not SPLIT_NAME.fullmatch(split):
        raise InputError(f"split={split!r} must be made of letters, digits and underscores")
    is_split = isinstance(input_data, (str, PathLike)) and split_names(str(input_data))
    source = SplitSource(input_data, split, data_path=data_path) if is_split else open_source(input_data)
    if not len(source):
        raise InputError("the input has no samples; there is nothing to export")
    first = source[0]
    for name in columns or ():
        check_choice("columns", name, tuple(first))
    chosen = {name: first[name] for name in (first if columns is None else columns)}
    fields = tuple(source.fields.get(name) or infer_field(name, value) for name, value in chosen.items())
    check_fields(fields)
    return Samples(source, fields, split, images_per_file, progress)


def image_file(field: Field, value: Any) -> tuple[bytes, images.ImageInfo]:
    """Return an image as the bytes of a file, its own ones if it has some, and what they say."""
    if not isinstance(value, EncodedImage):
        value = EncodedImage(masks.encode_ids(value, field.palette) if field.kind == "mask" else images.encode(value))
    return value.data, images.probe(value.data)


class ChosenSource(Source):
    """The samples of an export as the input of a converter."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.sample_type, self.ignored = samples.source.sample_type, samples.source.ignored
        self.fields = {f.name: f for f in samples.fields}
        if [f.name for f in samples.fields] not in (["image"], ["image", "label"]):
            self.sample_type = "dict"

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._samples.sample(index)

    def name(self, index: int) -> str:
        """Return what the input calls the sample."""
        return self._samples.source.name(index)

    def content(self) -> dict[str, Any]:
        """Return what the input is, and which fields of it."""
        return self._samples.source.content() | {"columns": [f.name for f in self._samples.fields]}

    def state(self) -> str:
        """Return the input's own digest."""
        return self._samples.source.state()
