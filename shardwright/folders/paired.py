"""Samples of several files each: an image and what belongs to it, stored byte for byte."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage
from shardwright.base.source import Places, Source, digest_of, not_in_place
from shardwright.folders.files import PathSource

__all__ = ["PairedFilesSource"]


class PairedFilesSource(Source):
    """Samples whose values lie in files of their own, or are numbers.

    Parameters
    ----------
    columns : sequence of (Field, PathSource or int64 array of shape (N,))
        The values of each field and how to store them: ``image``, ``mask`` and
        ``json`` files, or numbers. They stand in the order of a sample's values.
    content : mapping of str to JSON values
        What else tells this input from others.
    """

    keeps_samples = True

    def __init__(
        self, columns: Sequence[tuple[Field, PathSource | NDArray[np.int64]]], content: Mapping[str, Any]
    ) -> None:
        self.fields = {field.name: field for field, _ in columns}
        self._columns = {field.name: values for field, values in columns}
        self._files = [values for values in self._columns.values() if isinstance(values, PathSource)]
        self._content = dict(content)
        self.nbytes = sum(files.nbytes or 0 for files in self._files)

    def __len__(self) -> int:
        return len(self._files[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            name: self._value(name, values[index]["image"]) if isinstance(values, PathSource) else values.item(index)
            for name, values in self._columns.items()
        }

    def _value(self, name: str, file: EncodedImage) -> Any:
        if self.fields[name].kind != "json":
            return file
        try:
            return json.loads(file.data)
        except ValueError as error:
            raise InputError(f"{file.name} is not JSON: {error}") from error

    def name(self, index: int) -> str:
        """Return the paths of the files, each relative to its folder."""
        return " + ".join(files.name(index) for files in self._files)

    def places(self) -> Sequence[Places]:
        """Raise `InputError`: a shard is a file of many samples."""
        raise not_in_place(type(self).__name__, "every image is a file of its own")

    def content(self) -> dict[str, Any]:
        """Return number of samples, and a digest of each field's numbers or of its files' paths and sizes."""
        digests = {
            name: values.content()["digest"] if isinstance(values, PathSource) else digest_of(values)
            for name, values in self._columns.items()
        }
        return {"num_samples": len(self), "digests": digests, **self._content}

    def state(self) -> str:
        """Return a digest that covers modification times, too."""
        return " ".join(files.state() for files in self._files)
