"""What the index of a split tells of all samples without reading any: numbers, labels, names of classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.arguments import check_choice
from shardwright.base.fields import Field
from shardwright.base.split.manifest import Manifest
from shardwright.base.views import View

__all__ = ["IndexColumns"]


class IndexColumns(View):
    """The scalar fields of a reader, which lie in its index.

    Attributes
    ----------
    split : str
    manifest : Manifest
    fields : tuple of Field
    """

    split: str
    manifest: Manifest
    fields: tuple[Field, ...]
    _index: NDArray[Any]

    def scalars(self, name: str) -> NDArray[Any]:
        """Return a scalar field of all samples, shape (N,), without reading any sample.

        Raises
        ------
        ConfigError
            If there is no such field, or it is not a number.
        """
        check_choice("name", name, [f.name for f in self.manifest.fields if f.is_scalar])
        return np.asarray(self._index[name])

    @property
    def _label(self) -> Field | None:
        numbers = [f for f in self.manifest.fields if f.is_scalar]
        return min(numbers, key=lambda f: (f.kind != "class_label", f.name != "label"), default=None)

    @property
    def classes(self) -> list[str]:
        """The names of the labels' numbers or else of a mask's ids; empty if there are none."""
        named = self._label or next((f for f in self.manifest.fields if f.kind == "mask"), None)
        return list(named.names or ()) if named else []

    @property
    def targets(self) -> NDArray[Any]:
        """The labels of all samples, without reading any sample."""
        if self._label is None:
            raise AttributeError(f"split {self.split!r} has no label; its fields are {[f.name for f in self.fields]}")
        return np.asarray(self._index[self._label.name])
