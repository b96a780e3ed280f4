"""Export: a split, or any other input, as the files of another tool.

What can be written stands in the table of formats: each target is one function that
gets the `Samples` and the path to write. The output appears under its name when it
is complete, and leaves nothing when it fails.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shardwright.base import images
from shardwright.base.arguments import check_choice, check_split, check_whole
from shardwright.base.errors import ConfigError, InputError, OutputExistsError, ShardwrightError, StorageError
from shardwright.base.fields import Field, check_fields, sample_type_of
from shardwright.base.formats import export_targets
from shardwright.base.images import EncodedImage, masks
from shardwright.base.open_source import open_source
from shardwright.base.progress import Progress
from shardwright.base.source import Source
from shardwright.base.split.classes import label_field
from shardwright.base.split.paths import split_names
from shardwright.base.storage.atomic import storage_errors, sync_file, sync_folder
from shardwright.base.storage.file_lock import held_lock
from shardwright.base.values.infer import infer_field
from shardwright.base.values.mask_values import image_size
from shardwright.base.view_source import SplitSource

__all__ = ["Samples", "export", "image_file", "refuse_twice"]

_MEND = "nothing was exported: make room or mend the file system, then export again"
_FEW = 64  # files that are made durable one by one


def export(
    input_data: Any,
    output: str | Path,
    to: str,
    *,
    split: str = "train",
    columns: Sequence[str] | None = None,
    images_per_file: int = 1000,
    data_path: str | Path | None = None,
    progress: bool | None = False,
) -> Path:
    """Write a split as the files of another tool.

    The output appears under its name when it is complete, and not before.

    Parameters
    ----------
    input_data : path, reader or any other input of a converter
    output : path
        A folder, or for ``"npz"`` a file, that does not exist yet.
    to : str
        What to write: ``folder``, ``npz``, ``tfrecord``, ``webdataset``, or what a plug-in offers.
    split : str
        Which split of a converted dataset; also in the names of the files.
    columns : sequence of str, optional
        Export these fields only.
    images_per_file : int
        Samples per file, of targets with several files.
    data_path : path, optional
        The folder of the shard files of a converted dataset, if they lie elsewhere.
    progress : bool, optional
        Progress bar; ``None``: only on a terminal.

    Returns
    -------
    Path
        The output.

    Raises
    ------
    OutputExistsError
        If the output exists.
    InputError, ConfigError
        If the target cannot hold the samples; nothing is left then.

    Examples
    --------
    >>> export("out", "images", "folder")  # doctest: +SKIP
    """
    targets = export_targets()
    if to not in targets:
        raise ConfigError(f"to={to!r} is unknown; choose one of {', '.join(targets)}")
    write = targets[to].load_export(to)
    samples = Samples(input_data, split, columns, data_path, images_per_file, progress)
    with _new_output(Path(output).expanduser().absolute(), input_data) as path:
        write(samples, path)
    return Path(output)


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
        is_split = isinstance(input_data, (str, os.PathLike)) and split_names(str(input_data))
        source = SplitSource(input_data, split, data_path=data_path) if is_split else open_source(input_data, split)
        if not len(source):
            raise InputError("the input has no samples; there is nothing to export")
        first = source[0]
        for name in columns or ():
            check_choice("columns", name, tuple(first))
        names = first if columns is None else columns
        size = image_size(first)
        self.fields = {name: source.fields.get(name) or infer_field(name, first[name], size) for name in names}
        check_fields(tuple(self.fields.values()))
        self.sample_type = source.sample_type if sample_type_of(self.fields) == "tuple" else "dict"
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
        """The field of the labels, if it holds whole numbers."""
        label = label_field(tuple(self.fields.values()))
        return label if label is not None and label.kind in ("class_label", "int") else None


def image_file(field: Field, value: Any) -> tuple[bytes, images.ImageInfo]:
    """Return an image as the bytes of a file, its own ones if it has some, and what they say."""
    if not isinstance(value, EncodedImage):
        value = EncodedImage(
            masks.encode_ids(value, field.palette)
            if field.kind == "mask"
            else images.encode(images.to_pil(value, exif=field.exif))
        )
    return value.data, images.probe(value.data)


def refuse_twice(names: list[str], what: str) -> None:
    """Raise `ConfigError` if two fields would have one name in the export; `what` says it, with {} for the name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two fields would be {what.format(repr(twice[0]))}: leave one of them out with columns=, or rename it"
        )


@contextlib.contextmanager
def _new_output(output: Path, input_data: Any) -> Iterator[Path]:
    """Lend a path that becomes `output` (absolute; nothing is there yet) at the end of the context."""
    _check(output, input_data)
    temporary = output.with_name(f".{output.name}.tmp")
    with storage_errors(output, _MEND):
        output.parent.mkdir(parents=True, exist_ok=True)
        with held_lock(output.with_name(f".{output.name}.lock")):
            _remove(temporary)  # what a killed export left
            try:
                yield temporary
                _make_durable(temporary)
                _check(output, input_data)  # somebody else may have made it meanwhile
                temporary.rename(output)
                sync_folder(output.parent)
            finally:
                _remove(temporary)


def _check(output: Path, input_data: Any) -> None:
    if os.path.lexists(output):
        raise OutputExistsError(f"{output} exists; choose another name, or delete it yourself")
    if len(output.name.encode(errors="surrogateescape")) > 200:
        raise ConfigError(f"the name of the output is too long: {output.name[:80]}...")
    if isinstance(input_data, (str, os.PathLike)) and output.is_relative_to(Path(input_data).absolute()):
        raise ConfigError(f"the output {output} lies in the input; choose a folder beside it")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _make_durable(path: Path) -> None:
    """See that the content is on disk before the name is: one by one, or everything if there are many files."""
    files = [path] if path.is_file() else [Path(root, name) for root, _, names in os.walk(path) for name in names]
    if not files:
        raise StorageError(f"{path} is empty: there is nothing to export")
    if len(files) > _FEW and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        sync_file(file)
