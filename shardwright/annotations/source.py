"""Annotations beside images: those that are named, those that are found, and hints at those that are not used."""

import os
from pathlib import Path

from shardwright.annotations.coco import CocoSource
from shardwright.annotations.labelled import metadata_source, of_mapping, of_table
from shardwright.annotations.tables import SUFFIXES
from shardwright.annotations.yolo import is_yolo, open_yolo
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.source import Source
from shardwright.base.values.array_names import may_hold_labels
from shardwright.folders.imagenet import validation_classes

__all__ = ["open_annotated"]

_METADATA = ("metadata.jsonl", "metadata.csv")
_DEVKIT = "the development kit"


def open_annotated(source: Source, where: Path, split: str | None, labels: str | os.PathLike[str] | None) -> Source:
    """Return images with the annotations that are named, or that are found in their folder.

    Parameters
    ----------
    source : Source
        What was opened without them.
    where : Path
        The folder or archive.
    split : str, optional
    labels : path, optional
        As `open_labelled` takes it.
    """
    if labels is not None:
        plain = source.flat()
        if plain is not source:
            told = f"classes by {source.labels_from}, not used: labels={_parts(os.fsdecode(labels))[0].name} is"
            plain.ignored = {**plain.ignored, told: 1}
        return open_labelled(plain, labels)
    return open_yolo(where, split) if is_yolo(where) else open_found(source, where)


def open_labelled(source: Source, labels: str | os.PathLike[str]) -> Source:
    """Return images with the labels that a file says.

    Parameters
    ----------
    source : Source
        Images in a folder or an archive.
    labels : path
        A csv, tsv or jsonl file, perhaps with its columns of files and labels: ``train.csv:id:breed``; COCO's
        ``.json``; or ImageNet's development kit, a folder or ``.tar.gz``.

    Raises
    ------
    InputError, ConfigError
        If the file is none of these, or about other images.
    """
    path, file, label = _parts(os.fsdecode(labels))
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return of_table(source, path, file, label)
    if suffix == ".json":
        return CocoSource(source, path)
    if path.is_dir() or path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return of_mapping(source, path, validation_classes(path), f"ground truth of {_DEVKIT}")
    raise ConfigError(f"labels={str(path)!r}: give a {', '.join(SUFFIXES)} file, COCO's .json, or ImageNet's kit")


def _parts(text: str) -> tuple[Path, str | None, str | None]:
    """Return path, and the columns of files and labels if they are named."""
    path = Path(text).expanduser()
    if not path.exists() and text.count(":") >= 2:
        name, file, label = text.rsplit(":", 2)
        path = Path(name).expanduser()
        if path.exists():
            return path, file, label
    if not path.exists():
        raise InputError(f"labels={text!r} does not exist; check the path")
    return path, None, None


def open_found(source: Source, where: Path) -> Source:
    """Return a folder's images with what its ``metadata.csv`` or ``metadata.jsonl`` says; else with hints."""
    found = (where / name for name in _METADATA if (where / name).is_file())
    table = None if source.has_class_folders else next(found, None)  # class folders say it themselves
    if table is not None:
        source = metadata_source(source, table)
    used = set() if table is None else {table.name}
    hints = {
        f"{name} beside the images, not used: pass labels={name!r}": 1 for name in _tables(where) if name not in used
    }
    if not source.labels_from:
        above = [name for name in _tables(where.parent) if may_hold_labels(name) or name.startswith(where.name)]
        hints |= {f"../{name} beside the images, not used: pass it as labels=": 1 for name in above}
    if hints:
        source.ignored = {**source.ignored, **hints}
    return source


def _tables(folder: Path) -> list[str]:
    """Return the names of files that could hold labels."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and _is_named(entry.name)]
    except OSError:
        return []
    return sorted(names)[:5]


def _is_named(name: str) -> bool:
    """Whether a file is called like one of labels."""
    is_json = name.lower().endswith(".json")
    return name.lower().endswith(SUFFIXES) or (is_json and (may_hold_labels(name) or name.startswith("instances")))
