"""A source of images with more values for each: what all kinds of annotations share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.source import Source
from shardwright.base.storage.hashes import hash_file

__all__ = ["AnnotatedSource"]


class AnnotatedSource(Source):
    """The images of another source, with values from a file of annotations.

    Parameters
    ----------
    source : Source
        Images with names that are paths.
    path : Path
        The file.
    """

    def __init__(self, source: Source, path: Path) -> None:
        self.source, self.path = source, path
        self.digest = hash_file(path) if path.is_file() else ""
        self.fields: dict[str, Field] = {name: field for name, field in source.fields.items() if name != "label"}
        self.ignored: dict[str, int] = dict(source.ignored)
        self.threads, self.keeps_samples = source.threads, True
        self.nbytes, self.format_name = source.nbytes, source.format_name

    def __len__(self) -> int:
        return len(self.source)

    def names(self) -> list[str]:
        """Return the paths of all images."""
        return [self.source.name(index) for index in range(len(self.source))]

    def image(self, index: int) -> dict[str, Any]:
        """Return a sample of the source without its label."""
        return {name: value for name, value in self.source[index].items() if name != "label"}

    def name(self, index: int) -> str:
        """Return the path of the image."""
        return self.source.name(index)

    def listing(self) -> Mapping[str, NDArray[Any]] | None:
        """Return that of the images; each process reads the annotations itself."""
        return self.source.listing()

    @classmethod
    def from_listing(cls, path: Path, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Refuse: the images are listed."""
        raise NotImplementedError("the images are listed, and annotated anew")

    def changed(self) -> str | None:
        """Return what the source does."""
        return self.source.changed()

    def check(self) -> None:
        """Have the source check itself."""
        self.source.check()

    def content(self) -> dict[str, Any]:
        """Return that of the images, and a hash of the annotations."""
        return {**self.source.content(), "labels": self.digest}

    def state(self) -> str:
        """Return that of the images, and a hash of the annotations."""
        return f"{self.source.state()}-{self.digest}"

    def _count(self, found: NDArray[np.int64], rows: int, what: str) -> None:
        """Count images without a row, and rows without an image."""
        missing = int((found < 0).sum())
        unused = rows - len(np.unique(found[found >= 0]))
        if missing:
            self.ignored[f"image without a {what} in {self.path.name}: kept, its label is missing"] = missing
        if unused:
            self.ignored[f"{what} of {self.path.name} without an image"] = unused
        if len(self.source) == missing:
            raise InputError(f"{self.path} is about none of the images")
