"""What is exported: samples of any input, one at a time, and the fields that they have."""

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

from shardwright.base import images
from shardwright.base.arguments import check_choice, check_split, check_whole
from shardwright.base.errors import ConfigError, InputError, ShardwrightError
from shardwright.base.fields import Field, check_fields
from shardwright.base.images import EncodedImage, masks
from shardwright.base.open_source import open_source
from shardwright.base.progress import Progress
from shardwright.base.source import Source
from shardwright.base.split.paths import split_names
from shardwright.base.values.infer import infer_field
from shardwright.base.view_source import SplitSource

__all__ = ["Samples", "image_file", "refuse_twice"]


class Samples(Source):
    """The chosen fields of the samples of an input, and how an export writes them.

    Parameters
    ----------
    input_data, split, columns, data_path, images_per_file, progress
        As those of `export`.

    Raises
    ------
    ConfigError
        If an argument is wrong.
    InputError
        If there are no samples.
    """

    def __init__(
        self,
        input_data: Any,
        split: str,
        columns: Sequence[str] | None,
        data_path: Any,
        images_per_file: int,
        progress: bool | None,
    ) -> None:
        self.images_per_file = check_whole("images_per_file", images_per_file, 1)
        self.split = check_split(split)
        is_split = isinstance(input_data, (str, PathLike)) and split_names(str(input_data))
        source = SplitSource(input_data, split, data_path=data_path) if is_split else open_source(input_data)
        if not len(source):
            raise InputError("the input has no samples; there is nothing to export")
        first = source[0]
        for name in columns or ():
            check_choice("columns", name, tuple(first))
        names = first if columns is None else columns
        self.fields = {name: source.fields.get(name) or infer_field(name, first[name]) for name in names}
        check_fields(tuple(self.fields.values()))
        self.sample_type = source.sample_type if list(self.fields) in (["image"], ["image", "label"]) else "dict"
        self._source, self.ignored, self.progress = source, source.ignored, progress

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            sample = self._source[index]
            return {name: sample[name] for name in self.fields}
        except ShardwrightError:
            raise
        except KeyError as error:
            raise InputError(f"{self.name(index)} has no {error}, which the first sample has") from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield one sample after the other: field name to value, as sources give them."""
        with Progress(len(self), self.progress) as bar:
            for index in range(len(self)):
                yield self[index]
                bar.add(1)

    def name(self, index: int) -> str:
        """Return what the input calls the sample."""
        return self._source.name(index)

    def content(self) -> dict[str, Any]:
        """Return what the input is, and which fields of it."""
        return self._source.content() | {"columns": list(self.fields)}

    def state(self) -> str:
        """Return the input's own digest."""
        return self._source.state()

    @property
    def image(self) -> Field | None:
        """The first image field."""
        return next((f for f in self.fields.values() if f.kind == "image"), None)

    @property
    def label(self) -> Field | None:
        """The field that says the class."""
        fields = self.fields.values()
        return next((f for f in fields if f.kind == "class_label" or (f.kind == "int" and f.name == "label")), None)


def image_file(field: Field, value: Any) -> tuple[bytes, images.ImageInfo]:
    """Return an image as the bytes of a file, its own ones if it has some, and what they say."""
    if not isinstance(value, EncodedImage):
        value = EncodedImage(masks.encode_ids(value, field.palette) if field.kind == "mask" else images.encode(value))
    return value.data, images.probe(value.data)


def refuse_twice(names: list[str], what: str) -> None:
    """Raise `ConfigError` if two fields would have one name in the export; `what` says it, with {} for the name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two fields would be {what.format(repr(twice[0]))}: leave one of them out with columns=, or rename it"
        )
