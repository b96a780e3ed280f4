"""A source that changes what another one gives, and is like it in all else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from shardwright.base.fields import Field
from shardwright.base.source import Source

__all__ = ["WrappedSource"]


class WrappedSource(Source):
    """The samples of another source; what a subclass does not override is that source's.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.fields: dict[str, Field] = dict(source.fields)
        self.ignored: dict[str, int] = dict(source.ignored)
        self.sample_type, self.labels_from = source.sample_type, source.labels_from
        self.array_layouts, self.threads = source.array_layouts, source.threads
        self.keeps_samples, self.has_class_folders = source.keeps_samples, source.has_class_folders
        self.nbytes, self.format_name = source.nbytes, source.format_name

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        """Return what the source calls the sample."""
        return self.source.name(index)

    def listing(self) -> Mapping[str, NDArray[Any]] | None:
        """Return that of the source; each process makes the same of it."""
        return self.source.listing()

    @classmethod
    def from_listing(cls, path: Path, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Refuse: the source itself is listed, and wrapped anew."""
        raise NotImplementedError(f"the source in a {cls.__name__} is listed, and wrapped anew")

    def changed(self) -> str | None:
        """Return what the source does."""
        return self.source.changed()

    def check(self) -> None:
        """Have the source check itself."""
        self.source.check()

    def content(self) -> dict[str, Any]:
        """Return that of the source."""
        return self.source.content()

    def state(self) -> str:
        """Return that of the source."""
        return self.source.state()
