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
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from shardwright.base import images
from shardwright.base.arguments import check_callable, check_choice, check_whole
from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.formats import get_format
from shardwright.base.index_columns import IndexColumns
from shardwright.base.split.batches import Columns, read_columns
from shardwright.base.split.chosen import chosen_fields, modes_of
from shardwright.base.split.index import map_index, open_index
from shardwright.base.split.manifest import Manifest, load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.split.split import Unchanged, check_split_files
from shardwright.base.storage.files import FileCache, MappedFiles
from shardwright.base.storage.ranges import Ranges
from shardwright.base.transformed import transform_dict, transform_tuple
from shardwright.base.values.restore import restore, restore_array
from shardwright.base.values.tv import as_tv_tensors
from shardwright.base.views import Concat, as_positions, concat

__all__ = ["OUTPUTS", "Reader", "open_reader"]

OUTPUTS = ("pil", "numpy", "tensor", "bytes", "tv_tensor")


class Reader(IndexColumns, Dataset[Any]):
    """A converted split as a map-style ``torch.utils.data.Dataset``.

    Parameters
    ----------
    dataset_path : path
        The converter's ``output_path``.
    transform : callable, optional
        Applied to the first image.
    target_transform : callable, optional
        Applied to the second value (of dict samples: to ``label``, else the first mask).
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
    targets : int64 array, shape (N,)
    manifest : Manifest
    fields : tuple of Field
    """

    format_name: ClassVar[str]

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
        decoder: images.Decoder = "auto",
        data_path: str | Path | None = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ConfigError("give either transforms= or transform= and target_transform=, not both")
        if mode is not None:
            check_choice("mode", mode, images.MODES)
        self.output = check_choice("output", output, OUTPUTS)
        self.decoder: images.Decoder = check_choice("decoder", decoder, images.DECODERS)
        self.transform = check_callable("transform", transform)
        self.target_transform = check_callable("target_transform", target_transform)
        self.transforms = check_callable("transforms", transforms)
        self.dataset_path, self.split, self.check = Path(dataset_path).expanduser().absolute(), split, check
        paths = SplitPaths(self.dataset_path, split)
        unchanged = Unchanged(paths)
        self.manifest = unchanged.manifest
        self._check_format(self.manifest)
        paths = paths.holding(self.manifest.data_dir, data_path)
        self.data_path = paths.data
        check_split_files(paths, self.manifest)
        self._index = open_index(paths.index, self.manifest)
        self._files = FileCache(check_whole("max_open_files", max_open_files, 1), unchanged)
        self._maps = MappedFiles(self._files) if mmap else None
        self._paths: dict[tuple[str, int], tuple[Path, int]] = {}
        self.fields = chosen_fields(self.manifest, columns)
        if not self.fields:
            raise ConfigError(f"columns={columns!r}: name one field at least; leave columns out to read all")
        self._mode, self._modes = mode, modes_of(self.manifest, self.fields, mode)
        self._starts = np.cumsum([0] + [s.num_samples for s in self.manifest.shards])

    def _check_format(self, manifest: Manifest) -> None:
        name = getattr(self, "format_name", None)
        if manifest.format != name:
            module, _, reader = get_format(manifest.format).reader.partition(":")
            raise ConfigError(
                f"{self.dataset_path}: split {self.split!r} is {manifest.format}, {type(self).__name__} reads {name}; "
                f"use {reader} (from {module} import {reader}) or open_reader(path)"
            )

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
    def worker_init_fn(worker_id: int) -> None:
        """Do nothing: readers need no help in worker processes; for loaders that want a function."""

    def __len__(self) -> int:
        return self.manifest.num_samples

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
        return read_columns(self, self._positions(indices), out or {})

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
        reader = object.__new__(type(self))
        reader.__dict__.update(self.__dict__)
        reader.fields = chosen_fields(self.manifest, columns)
        reader._modes = modes_of(self.manifest, reader.fields, self._mode)
        stored = reader.read_columns(indices)
        return {f.name: list(reader._restored(f, stored[f.name])) for f in reader.fields}

    def concat(self, *others: Any) -> Concat:
        """Return this reader's samples followed by those of others; nothing is copied."""
        return concat([self, *others])

    def _positions(self, indices: Any) -> NDArray[np.int64]:
        return as_positions(indices, len(self), type(self).__name__)

    def _restored(self, field: Field, column: Any) -> Any:
        if field.is_scalar:
            return column.tolist()
        mode = self._modes.get(field.name)
        if isinstance(column, list):
            return [restore(field, value, self.output, mode, self.decoder) for value in column]
        if self.output == "bytes":
            return [value.tobytes() for value in column]
        return [restore_array(field, value, self.output, mode) for value in column]

    def _finish(self, values: tuple[Any, ...]) -> Any:
        """Make a sample of its values and apply the transforms."""
        if self.manifest.sample_type == "dict":
            sample = {f.name: v for f, v in zip(self.fields, values, strict=True)}
            if self.transforms is not None:
                return self.transforms(sample)
            return transform_dict(sample, self.fields, self.transform, self.target_transform)
        if self.transforms is not None:
            return self.transforms(*values)
        return transform_tuple(values, self.fields, self.transform, self.target_transform)

    def _shard_file(self, field: str, shard: int) -> tuple[Path, int]:
        """Return the file that holds a field of a shard, and its size."""
        found = self._paths.get((field, shard))
        if found is None:
            stored = self.manifest.shards[shard].files[self.manifest.field_files[field]]
            found = self._paths[field, shard] = self.data_path / stored.name, stored.size
        return found

    def close(self) -> None:
        """Close the open files; a later read opens them again."""
        self._files.close()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_index"} | {"_paths": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        paths = SplitPaths(self.dataset_path, self.split)
        self._index = map_index(paths.index, self.manifest)

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


def open_reader(dataset_path: str | Path, *, split: str = "train", **options: Any) -> Any:
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
    return get_format(manifest.format).load_reader()(dataset_path, split=split, **options)
