"""Which files make up a TFRecord set, and what TFDS says about them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.inputs import SPLITS
from shardwright.base.storage.names import printable
from shardwright.base.storage.strict_json import parse_json

__all__ = ["RecordSet", "TfdsFeature", "find_record_set", "is_record_name", "splits_in"]

_SHARD = r"-(?P<shard>\d{5,})-of-(?P<total>\d{5,})"
_NAME = re.compile(rf"(?P<stem>.+?)(?:\.tfrecords?(?:\.gz)?(?:{_SHARD})?(?:\.gz)?)")
_BARE = re.compile(rf"(?P<stem>[^.]+){_SHARD}(?:\.gz)?")  # TF-Slim's names have no suffix


def _match(name: str) -> re.Match[str] | None:
    return _NAME.fullmatch(name) or _BARE.fullmatch(name)


def is_record_name(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file's name is that of a TFRecord file."""
    return _match(os.path.basename(os.fsdecode(path))) is not None


@dataclass(frozen=True, slots=True)
class TfdsFeature:
    """What ``features.json`` says of one feature.

    Parameters
    ----------
    kind : str
        ``"image"``, ``"classLabel"``, ``"tensor"``, ``"text"`` or what TFDS calls it.
    dtype : str
        Of the values, not of how they are stored.
    shape : tuple of int
        Of one value; -1: any.
    names : tuple of str, optional
        Of the classes.
    encoding : str
        How a tensor is stored: ``"none"``: as a list of numbers.
    """

    kind: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] | None = None
    encoding: str = "none"


@dataclass(frozen=True, slots=True)
class RecordSet:
    """The files of one split, in order, with what is known of them.

    Parameters
    ----------
    files : tuple of str
    counts : tuple of int, optional
        Records of each, where TFDS says so.
    features : mapping of str to TfdsFeature
        Empty unless TFDS made the set.
    """

    files: tuple[str, ...]
    counts: tuple[int, ...] | None = None
    features: Mapping[str, TfdsFeature] = field(default_factory=dict)


def find_record_set(path: Any, split: str | None = None) -> RecordSet:
    """Find the files of a TFRecord set.

    Parameters
    ----------
    path : path or sequence of paths
        A file, files in the order wanted, or a folder.
    split : str, optional
        Which of a folder's splits; needed if there are several.

    Raises
    ------
    ConfigError
        If there are several splits; the message lists them.
    InputError
        If there are no files, or shards are missing.
    """
    if isinstance(path, (list, tuple)):
        return RecordSet(tuple(os.fsdecode(one) for one in path))
    where = os.path.abspath(os.path.expanduser(os.fsdecode(path)))
    if not os.path.isdir(where):
        return RecordSet((where,))
    names = _names_of_split(where, split)
    _check_complete(where, names)
    files = tuple(os.path.join(where, name) for name in names)
    if all(os.path.isfile(os.path.join(where, name)) for name in ("dataset_info.json", "features.json")):
        return RecordSet(files, _shard_lengths(where, files), _features(where))
    return RecordSet(files)


def _split_of(name: str) -> str:
    """Return the split that a file's name says, if any."""
    found = _match(name)
    words = re.split(r"[-_.]", found["stem"]) if found else []
    return next((word for word in reversed(words) if word.lower() in SPLITS), "")


def splits_in(path: Any) -> set[str]:
    """Return the splits that the names of a folder's files say; of anything else none."""
    if isinstance(path, (list, tuple)) or not os.path.isdir(path):
        return set()
    return {_split_of(name) for name in _record_names(os.fsdecode(path))}


def _record_names(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if _match(name) and not name.startswith("."))


def _names_of_split(folder: str, split: str | None) -> list[str]:
    shown = printable(os.fsencode(folder))
    names = _record_names(folder)
    if not names:
        raise InputError(f"{shown} has no TFRecord files: looked for *.tfrecord, *.tfrecord.gz and *-00000-of-00001")
    splits = sorted({_split_of(name) for name in names})
    if split is None and len(splits) > 1:
        known = ", ".join(repr(name) for name in splits if name)
        raise ConfigError(f"{shown} has several splits: choose one with TFRecordSource(path, split=...) of {known}")
    chosen = names if split is None else [name for name in names if _split_of(name) == split]
    if not chosen:
        raise ConfigError(f"{shown} has no split {split!r}: choose one of {', '.join(map(repr, splits))}")
    return chosen


def _check_complete(folder: str, names: list[str]) -> None:
    """Raise `InputError` if the names say that there are more shards than there are."""
    groups: dict[tuple[str, str], set[int]] = {}
    for name in names:
        found = _match(name)
        if found and found["total"]:
            groups.setdefault((found["stem"], found["total"]), set()).add(int(found["shard"]))
    for (stem, total), shards in groups.items():
        missing = [k for k in range(min(int(total), 10**6)) if k not in shards]
        if missing:
            raise InputError(
                f"{printable(os.fsencode(folder))}: {stem} has {len(shards)} of {int(total)} files, "
                f"the first missing is number {missing[0]:05d}: copy the rest"
            )


def _read_json(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    shown = printable(os.fsencode(path))
    try:
        with open(path, "rb") as file:
            values = parse_json(file.read(), shown)
    except (OSError, ValueError) as error:
        raise InputError(f"{shown} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{shown} is no JSON object: copy it again")
    return values


def _shard_lengths(folder: str, files: tuple[str, ...]) -> tuple[int, ...] | None:
    """Return how many records dataset_info.json gives each file, if it knows the split."""
    found = _read_json(folder, "dataset_info.json").get("splits")
    name = _split_of(os.path.basename(files[0]))
    for split in found if isinstance(found, list) else []:
        if isinstance(split, dict) and split.get("name") == name:
            lengths = split.get("shardLengths", [])
            if len(lengths) != len(files):
                where = printable(os.fsencode(folder))
                raise InputError(f"{where}: split {name!r} has {len(files)} of {len(lengths)} files: copy the rest")
            return tuple(int(length) for length in lengths)
    return None


def _features(folder: str) -> dict[str, TfdsFeature]:
    top = _read_json(folder, "features.json")
    try:
        return dict(_walk(folder, top, ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        shown = printable(os.fsencode(os.path.join(folder, "features.json")))
        raise InputError(f"{shown} is not what TFDS writes ({type(error).__name__}: {error})") from error


def _walk(folder: str, node: dict[str, Any], key: str) -> list[tuple[str, TfdsFeature]]:
    """List the features below a node of features.json, by the names they have in the records."""
    if "featuresDict" in node:
        inner = node["featuresDict"]["features"]
        return [pair for name in inner for pair in _walk(folder, inner[name], f"{key}/{name}".removeprefix("/"))]
    if "sequence" in node:
        inside = _walk(folder, node["sequence"]["feature"], key)
        return [(n, replace(f, kind="sequence", shape=(-1, *f.shape), names=None)) for n, f in inside]
    kind = next(name for name in sorted(node) if name != "pythonClassName" and isinstance(node[name], dict))
    body = node[kind]
    shape = tuple(int(n) for n in body.get("shape", {}).get("dimensions", ()))
    names = _class_names(folder, key) if kind == "classLabel" else None
    return [(key, TfdsFeature(kind, body.get("dtype", ""), shape, names, body.get("encoding", "none")))]


def _class_names(folder: str, key: str) -> tuple[str, ...] | None:
    path = os.path.join(folder, f"{key.replace('/', '-')}.labels.txt")
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        names = tuple(line.rstrip("\r\n") for line in file)
    return tuple(name for name in names if name) or None
