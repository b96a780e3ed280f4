"""One big array of images, with labels, as a source: the habit of NumPy, Keras and HDF5 users.

Images are read row by row by position, so the array may be much larger than
memory. ``uint8`` arrays (H, W) and (H, W, 1 | 3 | 4) are images; all others are
stored as the arrays they are, with the order of their axes.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.arrays.files import hdf5_in_place, is_array_file, kind_of_file, member_names, open_rows
from shardwright.arrays.in_place import NpySource
from shardwright.arrays.labels import Labels, load_labels
from shardwright.arrays.rows import Rows, rows_of_array
from shardwright.base.arguments import check_choice
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.source import Places, Source, digest_of, not_in_place
from shardwright.base.storage.names import printable

__all__ = ["LAYOUTS", "ArraySource", "find_layout", "is_array_file", "mnist_images", "open_arrays"]

LAYOUTS = {"NHW": 3, "NHWC": 4, "NCHW": 4}  # layout: number of axes
_CHANNELS = (1, 3, 4)
# The habits of Keras and others: name of the images, name of the labels.
_PAIRS = (("x", "y"), ("images", "labels"), ("image", "label"), ("data", "labels"), ("data", "label"))


def find_layout(shape: tuple[int, ...], layout: str | None = None, name: str = "the array") -> str:
    """Return the order of the axes of an array of images: ``"NHW"``, ``"NHWC"`` or ``"NCHW"``.

    Parameters
    ----------
    shape : tuple of int
    layout : str, optional
        What the user said.
    name : str
        What messages call the array.

    Raises
    ------
    ConfigError
        If `layout` is unknown or does not fit, or if the shape can mean several.
    """
    if layout is not None:
        check_choice("layout", layout, tuple(LAYOUTS))
        if len(shape) != LAYOUTS[layout]:
            fitting = [repr(known) for known, axes in LAYOUTS.items() if axes == len(shape)]
            mend = f"choose {' or '.join(fitting)}" if fitting else "reshape it"
            raise ConfigError(f"{name} has shape {shape}, which is not layout={layout!r}: {mend}")
        return layout
    if len(shape) == 3:
        if shape[2] in _CHANNELS[1:] and min(shape[:2]) > 4:
            raise ConfigError(
                f"{name} has shape {shape}, which looks like one image (H, W, C): say layout='NHW' if it is "
                f"{shape[0]} images of {shape[1]} x {shape[2]}, else give array[None]"
            )
        return "NHW"
    if len(shape) != 4:
        raise ConfigError(f"{name} has shape {shape}: images have the shape (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if (shape[3] in _CHANNELS) == (shape[1] in _CHANNELS):
        raise ConfigError(
            f"{name} has shape {shape}, which can be read in two ways: say layout='NHWC' ({shape[3]} channels of "
            f"{shape[1]} x {shape[2]}) or layout='NCHW' ({shape[1]} channels of {shape[2]} x {shape[3]})"
        )
    return "NHWC" if shape[3] in _CHANNELS else "NCHW"


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

    @property
    def format_name(self) -> str:  # type: ignore[override]
        """The format whose reader reads the file."""
        return "hdf5" if self._path and kind_of_file(self._path) == "h5" else "memmap"

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
        plain = all(option is None for option in (labels, layout, member, label_member, classes))
        path = os.fsdecode(data) if isinstance(data, (str, os.PathLike)) and plain else None
        if isinstance(data, (str, os.PathLike)):
            member, partner = _pair(data, member)
            self.rows = open_rows(data, member)
            if labels is None:
                labels, label_member = partner if label_member is None else (data, label_member)
        elif member is not None:
            raise ConfigError(f"member={member!r} is for .npz and HDF5 files: leave it out")
        else:
            self.rows = rows_of_array(_as_array(data))
        if self.rows.dtype.kind in "SU":
            raise InputError(f"{self.rows.name} holds strings, not images: pass it as labels=")
        self.layout = _layout(self.rows, layout)
        self.labels = None if labels is None else load_labels(labels, member=label_member, classes=classes)
        _check_labels(self.rows, self.labels, classes)
        self.fields = self._known_fields()
        self._block: tuple[int, NDArray[Any]] | None = None
        self._path = path
        self._placed: Source | None = None

    def _known_fields(self) -> dict[str, Field]:
        fields = {}
        if not self._is_image:
            fields["image"] = Field("image", "array", self.rows.dtype.str, self.rows.shape[1:])
        if self.labels is not None and self.labels.names is not None:
            fields["label"] = Field("label", "class_label", names=self.labels.names)
        return fields

    @property
    def _is_image(self) -> bool:
        """Whether rows are pixels, of which this library makes images."""
        if self.rows.dtype != np.uint8 or self.layout is None:
            return False
        channels = {"NHW": 1, "NHWC": self.rows.shape[-1], "NCHW": self.rows.shape[1]}[self.layout]
        return channels in _CHANNELS and 0 not in self.rows.shape[1:]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._row(index)
        if self._is_image and self.layout == "NCHW":
            row = np.ascontiguousarray(row.transpose(1, 2, 0))
        if self.labels is None:
            return {"image": row}
        return {"image": row, "label": self.labels.numbers.item(index)}

    def _row(self, index: int) -> NDArray[Any]:
        """Read one row; where single rows would be slow, with its neighbours."""
        row: NDArray[Any]
        step = self.rows.block
        if step == 1:
            row = self.rows.read(index, index + 1)[0]
            return row
        start, block = index - index % step, self._block
        if block is None or block[0] != start:
            block = self._block = start, self.rows.read(start, min(start + step, len(self.rows)))
        row = block[1][index - start]
        return row.copy()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_block": None}

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
            "labels": None if numbers is None else digest_of(numbers),
        }

    def places(self) -> Sequence[Places]:
        """Return where the values of an .npy or HDF5 file lie."""
        if self._path is None:
            raise not_in_place(self.rows.name, "it is an array in memory, or labels= and other options were given")
        if kind_of_file(self._path) not in ("npy", "h5"):
            raise not_in_place(self._path, "only .npy and HDF5 files are")
        self._placed = _in_place(self._path)
        first, *rest = self._placed.places()
        return [replace(first, left_out={**first.left_out, **self._placed.ignored}), *rest]

    def changed(self) -> str | None:
        """Return the file that has changed since `places` was asked, if there is one."""
        return None if self._placed is None else self._placed.changed()

    def state(self) -> str:
        """Return what `Rows.state` says."""
        return self.rows.state()


def open_arrays(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Source:
    """Return the source of array files: of one, with its labels, or of several that belong together."""
    if isinstance(paths, (str, os.PathLike)):
        try:
            return ArraySource(paths)
        except ConfigError as error:  # several arrays, none of which is the images by its name
            return _in_place(paths, error)
    folder = os.path.dirname(os.fspath(paths[0]))
    images = mnist_images(os.fsdecode(folder), [os.path.basename(os.fsdecode(path)) for path in paths])
    return _in_place(paths) if images is None else ArraySource(images)


def _in_place(paths: Any, error: Exception | None = None) -> Source:
    """Return the source of all arrays of the files; `error` is raised where there is none."""
    first = os.fsdecode(paths if isinstance(paths, (str, os.PathLike)) else paths[0])
    kind = kind_of_file(first)
    if kind == "h5":
        return hdf5_in_place(paths)
    if kind == "npy":
        return NpySource(paths)
    raise error or InputError(f"{first} and others: give one file, or .npy or HDF5 files that are alike")


def _as_array(data: Any) -> NDArray[Any]:
    if hasattr(data, "detach"):  # a tensor, which may want gradients or lie on a device
        data = data.detach().cpu().numpy()
    if not isinstance(data, np.ndarray):
        raise ConfigError(f"data is of type {type(data).__name__}: give the path of an array file, or a NumPy array")
    return data


def _layout(rows: Rows, layout: str | None) -> str | None:
    """Return the layout; only images need one."""
    if len(rows.shape) == 1:
        raise InputError(f"{rows.name} has shape {rows.shape}: one number per sample is a label, not an image")
    if layout is None and (rows.dtype != np.uint8 or len(rows.shape) not in LAYOUTS.values()):
        return None
    return find_layout(rows.shape, layout, rows.name)


def _check_labels(rows: Rows, labels: Labels | None, classes: Sequence[str] | None) -> None:
    if labels is None and classes is not None:
        raise ConfigError("classes= names the labels, and there are none: give labels= too")
    if labels is not None and len(labels.numbers) != len(rows):
        raise InputError(f"{rows.name} has {len(rows)} samples, labels has {len(labels.numbers)}: give one per sample")


def _label_name(name: str, names: Sequence[str]) -> str | None:
    """Return which of `names` holds the labels of array `name`: y_train for x_train, and so on."""
    folder, _, last = name.rpartition("/")
    word, line, rest = last.partition("_")
    for images, labels in _PAIRS:
        # Upper-case X with lower-case y is scikit-learn's habit.
        candidate = f"{folder}/{labels}{line}{rest}".removeprefix("/")
        if word.lower() == images and candidate in names:
            return candidate
    return None


def _pair(path: Any, member: str | None) -> tuple[str | None, tuple[Any, str | None]]:
    """Return which array must be the images, and path and array of the labels that go with it by its name.

    The images are the one array whose labels are beside it, if nothing is said.
    """
    names = member_names(path)
    partners = {name: found for name in names if (found := _label_name(name, names))}
    if member is None and len(partners) == 1:
        (member,) = partners
    if member in partners:
        return member, (path, partners[member])
    folder, name = os.path.split(os.fsdecode(path))
    other = os.path.join(folder, re.sub(r"images([-.])idx3", r"labels\1idx1", name))
    return member, (other if os.path.basename(other) != name and os.path.isfile(other) else None, None)


def mnist_images(folder: str, names: Sequence[str]) -> str | None:
    """Return the IDX file of images in a folder of MNIST's kind, ``None`` for any other folder.

    Parameters
    ----------
    folder : str
    names : sequence of str
        Its files.

    Raises
    ------
    ConfigError
        If there are several; the message lists them.
    """
    found = [name for name in names if re.search(r"images[-.]idx3", name)]
    if len(found) > 1:
        shown = printable(os.fsencode(folder))
        raise ConfigError(f"{shown} holds several arrays of images, convert each as a split: {', '.join(found)}")
    return os.path.join(folder, found[0]) if found else None
