"""A source of images with more values for each: what all kinds of annotations share."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.source import Source
from shardwright.base.storage.hashes import hash_file
from shardwright.base.wrapped_source import WrappedSource

__all__ = ["AnnotatedSource"]


class AnnotatedSource(WrappedSource):
    """The images of another source, with values from a file of annotations.

    Parameters
    ----------
    source : Source
        Images with names that are paths.
    path : Path
        The file.
    """

    def __init__(self, source: Source, path: Path) -> None:
        super().__init__(source)
        self.path = path
        self.digest = hash_file(path) if path.is_file() else ""
        self.fields.pop("label", None)
        self.sample_type, self.keeps_samples, self.has_class_folders = type(self).sample_type, True, False

    def names(self) -> list[str]:
        """Return the paths of all images."""
        return [self.source.name(index) for index in range(len(self.source))]

    def image(self, index: int) -> dict[str, Any]:
        """Return a sample of the source without its label."""
        return {name: value for name, value in self.source[index].items() if name != "label"}

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
