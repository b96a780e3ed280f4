"""Reader: the contract of a format for reading, and everything it gets for free.

A format says where in one shard each stored value lies: ``_locate(path,
fields)``. That is asked once, when the shard is written, and kept in the index.
Reading is then the same for all formats: index record, `os.pread`, check,
decode. No library of the format is imported and no shard is mapped into memory,
so a reader is safe in threads and under fork, spawn and forkserver, and a file
that was cut raises an error instead of ending the process.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from shardwright.base import images
from shardwright.base.arguments import check_callable, check_choice
from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.formats import get_format
from shardwright.base.images.modes import modes_on_reading
from shardwright.base.split.manifest import Manifest, load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.split.split import Columns, Split
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.restore import restore, restore_array
from shardwright.base.values.tv_tensors import as_tv_tensors
from shardwright.base.views import Decoding, View, as_positions, reads_as

__all__ = ["OUTPUTS", "Reader", "open_reader"]

OUTPUTS = ("pil", "numpy", "tensor", "bytes", "tv_tensor")


class Reader(View, Dataset[Any]):
    """A converted split as a map-style ``torch.utils.data.Dataset``.

    Parameters
    ----------
    dataset_path : path
        The converter's ``output_path``.
    transform : callable, optional
        Applied to the first image.
    target_transform : callable, optional
        Applied to the second value (of dict samples: to ``label``, else the first mask, else the class label).
    transforms : callable, optional
        Applied to all values of a sample together, instead of the two above.
    split : str
    output : {"pil", "tensor", "tv_tensor", "numpy", "bytes"}
        What an image becomes: PIL image; uint8 tensor (C, H, W), a mask (H, W);
        ``tv_tensors.Image``, ``Mask`` and ``BoundingBoxes``, which torchvision's
        v2 transforms move together; ndarray (H, W[, C]); its stored bytes.
    mode : str, optional
        Pillow mode of all images. By default the stored one if all images of
        the split share it, else RGB. Masks always keep theirs.
    check : bool, optional
        Compare each value with its hash when it is read. By default values of
        any size are compared (an image's decoding takes a hundred times
        longer), raw values of fixed size are not.
    columns : sequence of str, optional
        Read these fields only.
    max_open_files : int
        Shard files that a process keeps open.
    mmap : bool
        Copy raw values of fixed size out of mapped files instead of reading them: up to
        twice as fast where they lie in the page cache. A file that is cut meanwhile
        then ends the process, and is not an error.
    exif : {"ignore", "apply"}, optional
        Whether images are turned as their EXIF orientation says; by default as the converter was
        told, else not, as by torchvision. Masks and boxes stay as they are stored.
    decoder : {"auto", "fast", "pillow", "torchcodec"}
        What decodes JPEGs: the fastest way to Pillow's exact pixels; a slightly faster
        one that is 1 gray level off in the mean; or the library of that name.
    data_path : path, optional
        The folder of the shard files, where they do not lie in the dataset's own.

    Raises
    ------
    IncompleteDatasetError
        If the split was not published.
    CorruptShardError
        If index or shards are not what the manifest says.
    ConfigError
        If an argument is wrong, or the split is of another format.

    Attributes
    ----------
    classes : list of str
    class_to_idx : dict of str to int
    targets : int64 (or float64) array, shape (N,)
        The labels: the field of kind ``"class_label"``, else the one called ``label``.
        Any other number is read by `scalars`.
    manifest : Manifest
    fields : tuple of Field
    modes : dict of str to str or None
        The Pillow mode that each image field is converted to; ``None``: as stored.
    stored : Split
        The split as it lies on disk.
    """

    format_name: ClassVar[str]
    fields: tuple[Field, ...] = ()

    def __init__(
        self,
        dataset_path: str | Path,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        transforms: Callable[..., Any] | None = None,
        *,
        split: str = "train",
        output: Literal["pil", "tensor", "tv_tensor", "numpy", "bytes"] = "pil",
        mode: str | None = None,
        check: bool | None = None,
        columns: Sequence[str] | None = None,
        max_open_files: int = 64,
        mmap: bool = False,
        exif: Literal["ignore", "apply"] | None = None,
        decoder: images.Decoder = "auto",
        data_path: str | Path | None = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ConfigError("give either transforms= or transform= and target_transform=, not both")
        if mode is not None:
            check_choice("mode", mode, images.MODES)
        self.exif: images.Exif | None = None if exif is None else check_choice("exif", exif, images.EXIF)
        self.output = check_choice("output", output, OUTPUTS)
        self.decoder: images.Decoder = check_choice("decoder", decoder, images.DECODERS)
        self.transform = check_callable("transform", transform)
        self.target_transform = check_callable("target_transform", target_transform)
        self.transforms = check_callable("transforms", transforms)
        self.stored = Split(
            dataset_path,
            split,
            data_path=data_path,
            accepts=partial(_check_format, type(self)),
            check=check,
            max_open_files=max_open_files,
            mmap=mmap,
        )
        self.fields = self._chosen(columns)
        if not self.fields:
            raise ConfigError(f"columns={columns!r}: name one field at least; leave columns out to read all")
        self.modes = modes_on_reading(self.manifest.fields, self.manifest.modes, mode)

    @staticmethod
    @abstractmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        """Find the stored values in one shard.

        Parameters
        ----------
        path : Path
            The shard's file, as the converter was given it.
        fields : tuple of Field
            All fields; scalar ones lie in the index and need not be found.

        Returns
        -------
        mapping of str to Ranges
            For every field that is not scalar, in the order of the samples.
        """

    @staticmethod
    def _read_scalars(
        path: Path,  # noqa: ARG004 - for the formats that keep them
        fields: tuple[Field, ...],  # noqa: ARG004
    ) -> Mapping[str, NDArray[Any]]:
        """Read the scalar fields out of one shard, to be compared with the index; what is left out is not compared.

        Parameters
        ----------
        path, fields
            As for `_locate`.

        Returns
        -------
        mapping of str to ndarray
            One value per sample, in their order.
        """
        return {}

    @staticmethod
    def worker_init_fn(worker_id: int) -> None:
        """Do nothing: readers need no help in worker processes; for loaders that want a function."""

    @property
    def manifest(self) -> Manifest:
        """What was published of the split."""
        return self.stored.manifest

    @property
    def dataset_path(self) -> Path:
        """The folder of the dataset."""
        return self.stored.paths.root

    @property
    def data_path(self) -> Path:
        """The folder of the shard files."""
        return self.stored.paths.data

    @property
    def split(self) -> str:
        """The name of the split."""
        return self.stored.paths.split

    @property
    def check(self) -> bool | None:
        """Whether values are compared with their hashes as they are read."""
        return self.stored.check

    def __len__(self) -> int:
        return len(self.stored)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Read many samples at once, in the order of `indices`; what a DataLoader calls."""
        columns = self.read_columns(indices)
        samples = zip(*(self._restored(f, columns[f.name]) for f in self.fields), strict=True)
        if self.output == "tv_tensor":
            return list(map(self._finish, map(as_tv_tensors(self.fields), samples)))
        return list(map(self._finish, samples))

    def read_columns(
        self, indices: Sequence[int] | NDArray[Any], out: Mapping[str, NDArray[Any]] | None = None
    ) -> Columns:
        """Read the stored values of many samples, before any decoding.

        Parameters
        ----------
        indices : sequence of int
            Negative ones count from the end.
        out : mapping of str to ndarray, optional
            Where to put fixed-size fields, each (len(indices), *field.shape);
            for fields of varying size a uint8 buffer, used if it is large enough.

        Returns
        -------
        dict of str to ndarray or list of memoryview
            Scalars and fixed-size fields as arrays, others as one view per
            sample over one buffer.

        Raises
        ------
        IndexError
            If an index is out of range.
        ConfigError
            If fixed-size fields do not fill what `out` gives for them.
        CorruptShardError
            If stored bytes are not those that were written.
        """
        return self.stored.read_columns(self.fields, self._positions(indices), out or {})

    def read_values(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Read some fields of many samples, decoded as `output` and `mode` say but not transformed.

        Parameters
        ----------
        indices : sequence of int
        columns : sequence of str
            Any fields of the split, also those that samples are read without.

        Returns
        -------
        dict of str to list
        """
        fields = self._chosen(columns)
        stored = self.stored.read_columns(fields, self._positions(indices), {})
        return {f.name: list(self._restored(f, stored[f.name])) for f in fields}

    def scalars(self, name: str) -> NDArray[Any]:
        """Return a scalar field of all samples, shape (N,), without reading any sample.

        Raises
        ------
        ConfigError
            If there is no such field, or it is not a number.
        """
        return self.stored.scalars(name)

    @property
    def classes(self) -> list[str]:
        """The names of the labels' numbers or else of a mask's ids; empty if there are none."""
        return self.stored.classes

    @property
    def labels_from(self) -> str:
        """Where the labels were found when the split was made, in words; empty where nothing was said."""
        return str(self.manifest.plan.get("labels_from", ""))

    @property
    def targets(self) -> NDArray[Any]:
        """The labels of all samples, without reading any sample; `AttributeError` if they are no numbers."""
        return self.stored.targets

    @property
    def sample_type(self) -> Literal["tuple", "dict"]:
        """What a sample is, before ``transforms=``."""
        return "dict" if self.manifest.sample_type == "dict" else "tuple"

    @property
    def where(self) -> str:
        """Path and split, for messages."""
        return f"{self.dataset_path} (split {self.split!r})"

    @property
    def is_plain(self) -> bool:
        """Whether there is no transform, and the class reads samples as that of the format does."""
        transforms = (self.transform, self.target_transform, self.transforms)
        return all(t is None for t in transforms) and reads_as(self, get_format(self.manifest.format).load_reader())

    @property
    def decoding(self) -> Decoding | None:
        """How samples are made of stored values; ``None`` where a transform or a subclass changes them."""
        if self.transform or self.target_transform or self.transforms or not reads_as(self, Reader):
            return None
        if type(self)._restored is not Reader._restored:
            return None
        return Decoding(self.where, self.output, self.modes, self.decoder)

    def locate(self, index: int) -> tuple[View, int]:
        """Return this reader and the same number."""
        return self, index

    def content(self) -> dict[str, Any]:
        """Return the hash of the index, which holds the hash of every value."""
        names = [f.name for f in self.fields]
        return {"num_samples": len(self), "index_xxh3": self.manifest.index.xxh3, "columns": names}

    def reopened(self) -> "Reader":
        """Return the same samples as arrays, every stored value checked as it is read."""
        names = [f.name for f in self.fields]
        return open_reader(
            self.dataset_path,
            split=self.split,
            output="numpy",
            check=True,
            columns=names,
            exif=self.exif,
            data_path=self.data_path,
        )

    def _chosen(self, columns: Sequence[str] | None) -> tuple[Field, ...]:
        """Return the fields to read; images are turned as this reader was told, if it was."""
        fields = self.stored.chosen(columns)
        return fields if self.exif is None else tuple(_turned(f, self.exif, self.where) for f in fields)

    def _positions(self, indices: Any) -> NDArray[np.int64]:
        return as_positions(indices, len(self), type(self).__name__)

    def _restored(self, field: Field, column: Any) -> Sequence[Any]:
        """Decode the stored values of one field; a reader whose values become something else overrides it.

        Parameters
        ----------
        field : Field
        column : ndarray or list of memoryview
            What `read_columns` gives for the field.

        Returns
        -------
        sequence
            One value per sample, as `output`, `modes` and `decoder` say.
        """
        if field.is_scalar:
            return list(column.tolist())
        mode = self.modes.get(field.name)
        if isinstance(column, list):
            return [restore(field, value, self.output, mode, self.decoder) for value in column]
        if self.output == "bytes":
            return [value.tobytes() for value in column]
        return [restore_array(field, value, self.output, mode) for value in column]

    def _finish(self, values: tuple[Any, ...]) -> Any:
        """Make a sample of its values and apply the transforms."""
        if self.stored.manifest.sample_type == "dict":
            sample = {f.name: v for f, v in zip(self.fields, values, strict=True)}
            if self.transforms is not None:
                return self.transforms(sample)
            return _transform_dict(sample, self.fields, self.transform, self.target_transform)
        if self.transforms is not None:
            return self.transforms(*values)
        return _transform_tuple(values, self.fields, self.transform, self.target_transform)

    def close(self) -> None:
        """Close the open files; a later read opens them again."""
        self.stored.close()

    def __repr__(self) -> str:
        lines = [
            f"{type(self).__name__}: {len(self)} samples in {len(self.manifest.shards)} shards",
            f"    path: {self.dataset_path} (split {self.split!r})",
            f"    fields: {', '.join(f'{f.name} ({f.kind})' for f in self.fields)}",
            f"    output: {self.output}",
        ]
        if self.classes:
            lines.append(f"    classes: {len(self.classes)}")
        changes = ("transform", "target_transform", "transforms")
        lines += [f"    {name}: {getattr(self, name)!r}" for name in changes if getattr(self, name) is not None]
        return "\n".join(lines)


def _check_format(kind: type[Reader], paths: SplitPaths, manifest: Manifest) -> None:
    """Raise `ConfigError` unless readers of this class read the format of a split."""
    name = getattr(kind, "format_name", None)
    if manifest.format != name:
        module, _, reader = get_format(manifest.format).reader.partition(":")
        raise ConfigError(
            f"{paths.root}: split {paths.split!r} is {manifest.format}, {kind.__name__} reads {name}; "
            f"use {reader} (from {module} import {reader}) or open_reader(path)"
        )


def _turned(field: Field, exif: images.Exif, where: str) -> Field:
    """Return the field of images that are turned as `exif` says, or raise `ConfigError` if they are pixels already."""
    if field.kind != "image" or field.exif == exif:
        return field
    if field.is_fixed:
        raise ConfigError(
            f"{where}: exif={exif!r} comes too late for field {field.name!r}: its pixels were stored with "
            f"exif={field.exif!r}. Leave it out, or convert the images again with exif={exif!r}"
        )
    return replace(field, exif=exif)


def _transform_tuple(
    values: Sequence[Any],
    fields: Sequence[Field],
    transform: Callable[[Any], Any] | None,
    target_transform: Callable[[Any], Any] | None,
) -> Any:
    """Return the values as a tuple, the second one being the target; a single value alone."""
    parts = list(values)
    first = next((i for i, f in enumerate(fields) if f.is_image), 0)
    if transform is not None:
        parts[first] = transform(parts[first])
    if target_transform is not None and len(parts) > 1:
        parts[1] = target_transform(parts[1])
    return tuple(parts) if len(parts) > 1 else parts[0]


def _transform_dict(
    sample: dict[str, Any],
    fields: Sequence[Field],
    transform: Callable[[Any], Any] | None,
    target_transform: Callable[[Any], Any] | None,
) -> dict[str, Any]:
    """Return the sample, whose target is ``label``, or else the first mask, or else the class label."""
    image = next((f.name for f in fields if f.is_image), fields[0].name)
    targets = [f.name for kind in ("mask", "class_label") for f in fields if f.kind == kind]
    target = "label" if "label" in sample else next(iter(targets), None)
    if transform is not None:
        sample[image] = transform(sample[image])
    if target_transform is not None and target is not None:
        sample[target] = target_transform(sample[target])
    return sample


def open_reader(dataset_path: str | Path, *, split: str = "train", **options: Any) -> Reader:
    """Open a converted split with the reader of its format.

    Parameters
    ----------
    dataset_path : path
        The converter's ``output_path``.
    split : str
    **options
        Passed to the reader, for example ``output="tensor"``.

    Raises
    ------
    IncompleteDatasetError
        If the split was not published.
    """
    manifest = load_manifest(SplitPaths(Path(dataset_path).expanduser(), split))
    reader: Reader = get_format(manifest.format).load_reader()(dataset_path, split=split, **options)
    return reader
