"""Open any input: the source that reads it."""

import os
import sys
from pathlib import Path
from typing import Any, TypeAlias

from shardwright.base.decided_labels import with_decided_labels
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.formats import get_format
from shardwright.base.inputs import SPLITS, find_input
from shardwright.base.source import Source

Labels: TypeAlias = str | os.PathLike[str] | None

__all__ = ["is_split", "open_files", "open_path", "open_source", "split_folders", "with_labels"]

_ACCEPTED = (
    "give the path of a folder (class folders of images, a folder of images, or a converted "
    "dataset), of files (tar, zip, Parquet, Arrow, HDF5, .npy, .npz, TFRecord, ...), a dataset with "
    "__len__ and __getitem__ (torch, torchvision, ...), a reader of this library, or a Source"
)


def open_source(input_data: Any, split: str | None = None, *, labels: Labels = None, splits: bool = False) -> Source:
    """Return the source that reads `input_data`.

    Parameters
    ----------
    input_data : str, path-like, dataset, reader or Source
        A folder of images, files of a technology that is known (one, a folder of
        them, or a pattern such as ``"data/train-*.tar"``), a converted dataset, or an
        object that gives samples by number. `ArraySource` and `TFRecordSource` take options.
    split : str, optional
        In a folder of files, those called after it (``train-0.tar``) are taken, if there are any.
    labels : path, optional
        Of images in a folder or archive: the file of their labels (csv, tsv, jsonl, perhaps with its columns:
        ``"train.csv:id:breed"``; COCO's ``.json``; ImageNet's development kit).
    splits : bool
        The folders are splits (`split_folders`), and that is known.

    Raises
    ------
    InputError
        If it is none of these, or if nothing in it can be read; if its folders are splits, not classes.

    Examples
    --------
    >>> len(open_source([("a", 1), ("b", 0)]))
    2
    """
    if isinstance(input_data, (str, os.PathLike)):
        return open_path(input_data, split, labels=labels, splits=splits)
    if labels is not None:
        raise ConfigError(f"labels={os.fspath(labels)!r} is for images in a folder or archive: leave it out")
    if isinstance(input_data, Source):
        return input_data
    if "shardwright.base.reader" in sys.modules:  # not loaded: there cannot be a reader
        from shardwright.base.view_source import ViewSource
        from shardwright.base.views import as_view

        view = as_view(input_data)
        if view is not None and view.is_plain:
            return ViewSource(view)
    _check_dataset(input_data)
    return get_format("torch_datasets").load_source()(input_data)  # type: ignore[no-any-return]


def open_path(
    path: str | os.PathLike[str], split: str | None = None, *, labels: Labels = None, splits: bool = False
) -> Source:
    """Return the source that reads a path.

    Raises
    ------
    InputError, ConfigError
        As `open_source`; if the path does not exist; if files of several formats lie there.
    """
    where = os.path.expanduser(os.fsdecode(path))
    if is_split(where) and labels is not None:
        raise ConfigError(f"labels={os.fspath(labels)!r} is for images in a folder or archive, not a converted dataset")
    if is_split(where):
        split_source: Source = get_format("splits").load_source()(where)  # with torch, which is slow to import
        return split_source
    source = _open_files(where, split)
    if not splits:
        _refuse_splits(source, where)
    return with_labels(source, where, split, labels)


def open_files(
    path: str | os.PathLike[str], split: str | None = None, format_name: str | None = None, *, labels: Labels = None
) -> Source:
    """Return the source that reads a file, the files in a folder, or a folder of images; not a converted dataset."""
    source = _open_files(path, split, format_name)
    _refuse_splits(source, path)
    return with_labels(source, path, split, labels)


def with_labels(source: Source, path: str | os.PathLike[str], split: str | None, labels: Labels) -> Source:
    """Return what was opened of a path with the labels of a file, or with those that lie beside the images."""
    folder = get_format("folders").load_listed()
    if labels is not None and not source.holds_files:
        raise ConfigError(f"labels={os.fspath(labels)!r} is for images in a folder or archive; {path} is none")
    if labels is None and type(source) is not folder:
        return source
    annotated: Source = get_format("annotations").load_source()(source, Path(path).expanduser(), split, labels)
    return annotated


def split_folders(source: Source) -> list[str]:
    """Return the folders of a source of class folders, if all are called like splits: train, val, ...

    In the order in which they are converted: the one to train on first, whose classes the others share.
    """
    label = source.fields.get("label")
    names = () if label is None or not source.has_class_folders else label.names or ()
    places = {name: number for number, name in enumerate(SPLITS)}
    if not all(name.lower() in places for name in names):
        return []
    return sorted(names, key=lambda name: places[name.lower()])


def _refuse_splits(source: Source, where: str | os.PathLike[str]) -> None:
    """Raise `InputError` if the folders of a source are splits: as classes they would be wrong labels."""
    names = split_folders(source)
    if names:
        one = f"give one of them, {str(Path(where) / names[0])!r}, or " if os.path.isdir(where) else ""
        raise InputError(
            f"the folders in {os.fspath(where)} are splits ({', '.join(names)}), not classes: {one}convert each as a "
            "split of its own: split=None, on the command line --all-splits"
        )


def _open_files(path: str | os.PathLike[str], split: str | None = None, format_name: str | None = None) -> Source:
    where = Path(path).expanduser()
    found = find_input(where, split, format_name)
    if found.record is None and is_split(str(where)):
        raise InputError(
            f"{where} is a converted dataset already: open_reader({str(where)!r}) reads it. To index its files anew, "
            f"give {where / 'data'}"
        )
    if found.record is None:
        folder: Source = get_format("folders").load_source()(where)
        return folder
    opened = found.record.load_source()
    if found.record.takes_folder and where.is_dir():
        whole: Source = opened(where, split)  # it knows what else in the folder belongs to it
        return with_decided_labels(whole)
    source: Source = opened(found.files if len(found.files) > 1 else found.files[0])
    if found.ignored:
        source.ignored = {**source.ignored, **found.ignored}
    return with_decided_labels(source)


def is_split(path: str) -> bool:
    """Whether a folder holds a converted dataset."""
    return any(not manifest.name.startswith(".") for manifest in Path(path).glob("metadata/*.json"))


def _check_dataset(value: Any) -> None:
    """Raise `InputError` unless `value` gives samples by number."""
    kind = type(value).__name__
    if isinstance(value, type):
        raise InputError(f"input_data is the class {value.__name__}, not a dataset; {_ACCEPTED}")
    by_number = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    torch_data = sys.modules.get("torch.utils.data")
    if torch_data is not None and isinstance(value, torch_data.IterableDataset):
        by_number = False  # it inherits a __getitem__ that only raises
    if not by_number and (hasattr(value, "__iter__") or hasattr(value, "__getitem__")):
        raise InputError(
            f"input_data is an iterable-style {kind}: samples are read by number, in any order; "
            "give it __len__ and __getitem__, or convert list(input_data)"
        )
    # The others have both methods too, but what one sample of them would be is a guess.
    if not by_number or isinstance(value, (dict, tuple, bytes, bytearray)) or hasattr(value, "__array__"):
        raise InputError(f"input_data is of type {kind}; {_ACCEPTED}")
