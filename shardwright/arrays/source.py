"""One big array of images, with labels, as a source: the habit of NumPy, Keras and HDF5 users.

Images are read row by row by position, so the array may be much larger than
memory. ``uint8`` arrays (H, W) and (H, W, 1 | 3 | 4) are images; all others are
stored as the arrays they are, with the order of their axes.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.arrays.files import arrays_beside, configured_classes, member_names, open_rows
from shardwright.arrays.labels import load_labels
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.source import Places, Source, digest_of, not_in_place
from shardwright.base.storage.names import printable
from shardwright.base.storage.ranges import Ranges
from shardwright.base.table_source import ArrayTable, TableSource
from shardwright.base.values.array_names import partners
from shardwright.base.values.infer import LAYOUTS, find_layout, pixel_field
from shardwright.base.values.label_column import Labels
from shardwright.base.values.rows import Rows, check_images, rows_of_array

__all__ = ["ArrayFiles", "ArraySource"]

_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "t10k"}


class ArrayFiles(TableSource):
    """The samples of .npy, .npz and IDX files, with all that belongs to them by its name.

    Parameters
    ----------
    paths : path or sequence of paths
        The files, in the order of their samples. ``images-00000.npy`` brings
        ``labels-00000.npy`` along, and ``t10k-images-idx3-ubyte`` its labels.

    Raises
    ------
    InputError
        If a file is damaged, or holds no samples, or has nothing in common with the first.
    UnsafeDataError
        If a file holds Python objects.
    ConfigError
        If the arrays are those of several splits, or have different lengths.
    """

    format_name = "memmap"

    def _table(self, path: Path) -> ArrayTable:
        files, arrays = arrays_beside(path)
        names = configured_classes(files, list(arrays)) if len(files) == len(arrays) > 1 else {}
        return ArrayTable(files, arrays, names)

    def _look_at_all(self, files: Sequence[Path]) -> list[Places]:
        parts = super()._look_at_all(files)
        names = [part.files[0].name for part in parts]
        if len({frozenset(_SPLITS & set(re.split(r"[^a-z0-9]+", name.lower()))) for name in names}) > 1:
            shown = printable(os.fsencode(files[0].parent))
            raise ConfigError(
                f"{shown} holds several arrays of images, convert each as a split: {', '.join(names)}; give one of "
                "these files, or a pattern"
            )
        return parts


class ArraySource(Source):
    """Images in one array, on disk or in memory.

    Parameters
    ----------
    data : path, numpy.ndarray or tensor
        An .npy, .npz, IDX (also gzipped) or HDF5 file, or an array; any dtype
        of numbers, either byte order, C or Fortran order.
    labels : array, sequence or path, optional
        As `load_labels` takes them. Without: the array of an .npz or HDF5 file,
        or the IDX file, that goes with `data` by its name (x_train and y_train,
        images and labels, ...).
    layout : {"NHW", "NHWC", "NCHW"}, optional
        Order of the axes; found out from the shape where that leaves no doubt.
    member, label_member : str, optional
        Which arrays of .npz or HDF5 files.
    classes : sequence of str, optional
        Names of the classes.

    Raises
    ------
    InputError
        If there is anything wrong with the files, or the lengths differ.
    ConfigError
        If an option is wrong, or needed.

    Examples
    --------
    >>> import numpy as np
    >>> source = ArraySource(np.zeros((2, 8, 8), np.uint8), labels=["dog", "cat"])
    >>> source[0]["label"], source.fields["label"].names
    (1, ('cat', 'dog'))
    """

    format_name = "memmap"
    keeps_samples = True

    def __init__(
        self,
        data: Any,
        labels: Any = None,
        *,
        layout: str | None = None,
        member: str | None = None,
        label_member: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        if isinstance(data, (str, os.PathLike)):
            member, partner = _pair(data, member)
            self.rows = open_rows(data, member)
            if labels is None:
                labels, label_member = partner if label_member is None else (data, label_member)
        elif member is not None:
            raise ConfigError(f"member={member!r} is for .npz and HDF5 files: leave it out")
        else:
            self.rows = rows_of_array(_as_array(data))
        check_images(self.rows)
        self.layout = _layout(self.rows, layout)
        self.labels = (
            None if labels is None else load_labels(labels, member=label_member, classes=classes, count=len(self.rows))
        )
        _check_labels(self.rows, self.labels, classes)
        self.fields = self._known_fields()
        self._is_turned = self._pixels is not None and self.layout == "NCHW"
        self.array_layouts = {"image": self.layout} if self._pixels is None and self.layout else {}

    def _known_fields(self) -> dict[str, Field]:
        fields = {}
        if self._pixels is None:
            fields["image"] = Field("image", "array", self.rows.dtype.str, self.rows.shape[1:])
        if self.labels is not None and self.labels.names is not None:
            fields["label"] = Field("label", "class_label", names=self.labels.names)
        return fields

    @property
    def _pixels(self) -> Field | None:
        """The field of rows that are pixels, of which this library makes images."""
        return pixel_field("image", self.rows.shape, self.rows.dtype, self.layout)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows.row(index)
        if self._is_turned:
            row = np.ascontiguousarray(row.transpose(1, 2, 0))
        if self.labels is None:
            return {"image": row}
        numbers = self.labels.numbers
        return {"image": row, "label": numbers.item(index) if numbers.ndim == 1 else numbers[index]}

    def name(self, index: int) -> str:
        """Return array and row."""
        return f"row {index} of {self.rows.name}"

    def content(self) -> dict[str, Any]:
        """Return shape, dtype, layout, number of classes and an xxh3-128 of the labels."""
        numbers = None if self.labels is None else self.labels.numbers
        names = None if self.labels is None else self.labels.names
        return {
            "num_samples": len(self),
            "shape": list(self.rows.shape),
            "dtype": self.rows.stored_dtype.str,
            "layout": self.layout,
            "classes": None if names is None else len(names),
            "labels": None if numbers is None else digest_of(_whole_bytes(numbers)),
        }

    def places(self) -> list[Places]:
        """Return where the rows lie in a file, if they lie there as they are."""
        if self.rows.elsewhere:
            raise not_in_place(self.rows.name, self.rows.elsewhere)
        path, offset = self.rows.place
        image = self._pixels or self.fields["image"]
        ranges = {"image": Ranges.fixed(path, offset, len(self), image.nbytes)}
        if self.labels is None:
            return [Places(len(self), (image,), ranges, {}, (path,))]
        if self.labels.kind == "array":
            raise not_in_place(self.rows.name, "it has several labels per sample, which are kept in memory")
        label = self.fields.get("label", Field("label", self.labels.kind))
        return [Places(len(self), (image, label), ranges, {"label": self.labels.numbers}, (path,))]

    def state(self) -> str:
        """Return what `Rows.state` says."""
        return self.rows.state()


def _whole_bytes(numbers: NDArray[Any]) -> NDArray[np.int64] | bytes:
    """Return what a digest is made of."""
    return numbers if numbers.dtype == np.int64 else np.ascontiguousarray(numbers).tobytes()


def _as_array(data: Any) -> NDArray[Any]:
    if hasattr(data, "detach"):  # a tensor, which may want gradients or lie on a device
        data = data.detach().cpu().numpy()
    if not isinstance(data, np.ndarray):
        raise ConfigError(f"data is of type {type(data).__name__}: give the path of an array file, or a NumPy array")
    return data


def _layout(rows: Rows, layout: str | None) -> str | None:
    """Return the layout; only images need one."""
    if layout is None and (rows.dtype != np.uint8 or len(rows.shape) not in LAYOUTS.values()):
        return None
    return find_layout(rows.shape, layout, rows.name)


def _check_labels(rows: Rows, labels: Labels | None, classes: Sequence[str] | None) -> None:
    if labels is None and classes is not None:
        raise ConfigError("classes= names the labels, and there are none: give labels= too")
    if labels is not None and len(labels.numbers) != len(rows):
        raise InputError(f"{rows.name} has {len(rows)} samples, labels has {len(labels.numbers)}: give one per sample")


def _pair(path: Any, member: str | None) -> tuple[str | None, tuple[Any, str | None]]:
    """Return which array must be the images, and path and array of the labels that go with it by its name.

    The images are the one array whose labels are beside it, if nothing is said.
    """
    names = member_names(path)
    found = {name: pair["label"] for name in names if "label" in (pair := partners(name, names.__contains__))}
    found = {name: label for name, label in found.items() if name != label}
    if member is None and len(found) == 1:
        (member,) = found
    if member in found:
        return member, (path, found[member])
    folder, name = os.path.split(os.fsdecode(path))
    other = os.path.join(folder, re.sub(r"images([-.])idx3", r"labels\1idx1", name))
    return member, (other if os.path.basename(other) != name and os.path.isfile(other) else None, None)
