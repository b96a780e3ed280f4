"""Which technology reads a path: one detection, for converting and for indexing.

A file is told by its first bytes, else by its name; a folder by what lies in it.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shardwright.base.errors import ConfigError, InputError, UnsafeDataError
from shardwright.base.formats import Format, get_format, technologies
from shardwright.base.images.probe import has_image_name
from shardwright.base.storage.names import is_safe_name

__all__ = ["SPLITS", "FoundInput", "find_input"]

SPLITS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval", "evaluation")
_MOST_LOOKED_AT = 1000  # entries of sub-folders, in which an image may be


@dataclass(frozen=True, slots=True)
class FoundInput:
    """What a path is.

    Parameters
    ----------
    record : Format or None
        The technology of its files; ``None``: a folder of image files, or nothing that is known.
    files : tuple of Path
        In the order of their names.
    ignored : dict of str to int
        What else lies in the folder: reason to the number of files.
    """

    record: Format | None
    files: tuple[Path, ...] = ()
    ignored: dict[str, int] | None = None


def find_input(path: Path, split: str | None = None, format_name: str | None = None) -> FoundInput:
    """Find the files that a path means.

    Parameters
    ----------
    path : Path
        A file, a folder, or a pattern for file names (``data/train-*.tar``).
    split : str, optional
        In a folder, files called after it (``train-0.tar``) are taken and others left, if there are any.
    format_name : str, optional
        The technology, where neither bytes nor names tell it.

    Raises
    ------
    InputError
        If a pattern matches no file.
    ConfigError
        If the files are of several technologies.
    UnsafeDataError
        If the name of a file could mislead who reads it.
    """
    path, record = path.absolute(), None if format_name is None else reading(format_name)
    if path.is_dir():
        return _in_folder(path, split, record)
    files = _matching(path)
    record = record or _only_technology({file: technology_of(file) for file in files}, path)
    if files and record is None:
        known = ", ".join(suffix for other in technologies() for suffix in other.suffixes)
        raise InputError(
            f"{path} is a file: give a folder with images, or files of a kind that is read ({known}); neither its "
            "first bytes nor its name tell one"
        )
    return FoundInput(record, _checked(files))


def reading(format_name: str) -> Format:
    """Return the technology that reads foreign files of a format.

    Raises
    ------
    ConfigError
        If there is none.
    """
    record = get_format(format_name)
    if record.source:
        return record
    for other in technologies():
        if other.source and other.suffixes and other.reader == record.reader:
            return other
    names = ", ".join(other.name for other in technologies() if other.suffixes)
    raise ConfigError(f"format {format_name!r} reads no files that others wrote; choose one of {names}")


def technology_of(path: Path) -> Format | None:
    """Return the technology of a file: told by its first bytes, and by its name where several fit or none."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the permissions") from error
    known = technologies()
    by_name = [record for record in known if record.is_named(path.name)]
    both = [record for record in by_name if not record.magic or record.begins(head)]
    by_bytes = [record for record in known if record.begins(head)]
    return next(iter(both or by_bytes or by_name), None)


def _matching(path: Path) -> list[Path]:
    if os.path.isfile(path):
        return [path]
    if not path.parent.is_dir() or not any(c in path.name for c in "*?["):
        return []
    found = [file for file in path.parent.glob(path.name) if file.is_file()]
    if not found:
        raise InputError(f"{path} matches no file; check the pattern (it stands for file names only)")
    return sorted(found)


def _in_folder(path: Path, split: str | None, record: Format | None) -> FoundInput:
    """Return the files of one technology in a folder; folders of images are none."""
    with os.scandir(path) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    if record is None and any(has_image_name(os.fsencode(e.name)) and e.is_file() for e in shown):
        return FoundInput(None)  # at the first image: there may be millions
    files = [Path(entry.path) for entry in shown if entry.is_file()]
    kinds = {file: record for file in files if record and record.is_named(file.name)}
    if record is None:
        kinds = {file: found for file in files if (found := _named(file.name))}
        if not kinds:
            return FoundInput(None)
        if any(_has_images(Path(entry.path)) for entry in shown if entry.is_dir()):
            return FoundInput(None)
    called = {file: kind for file, kind in kinds.items() if split and _is_called(file, split)} or kinds
    if called is kinds and not any(kind.takes_folder for kind in kinds.values()):
        _refuse_several_splits(path, kinds, split)
    left = {
        "file of another kind": len(files) - len(kinds),
        f"file that is not called {split}": len(kinds) - len(called),
    }
    if not called:
        inside = f"; is {path / 'data'} meant?" if (path / "data").is_dir() else ""
        looked_for = ", ".join(record.suffixes) if record else ""
        raise InputError(f"{path} holds no such files; looked for {looked_for}{inside}")
    ignored = {why: count for why, count in left.items() if count}
    return FoundInput(_only_technology(called, path), _checked(sorted(called)), ignored)


def _refuse_several_splits(path: Path, files: Iterable[Path], split: str | None) -> None:
    """Raise `ConfigError` if the names say that files belong to different splits: they are never mixed."""
    names = sorted({name for name in SPLITS for file in files if _is_called(file, name)})
    if len(names) > 1:
        none = "" if split is None else f", and none of split {split!r}"
        raise ConfigError(
            f"{path} holds files of several splits ({', '.join(names)}){none}: say which with split=, or give a "
            f"pattern, for example {str(path / names[0]) + '*'!r}"
        )


def _named(name: str) -> Format | None:
    return next((record for record in technologies() if record.is_named(name)), None)


def _has_images(folder: Path) -> bool:
    """Whether a file with an image's name lies in a folder, or in one below it; not all of a large one is looked at."""
    seen = 0
    for _, _, names in os.walk(folder):
        if any(has_image_name(os.fsencode(name)) for name in names):
            return True
        seen += len(names)
        if seen > _MOST_LOOKED_AT:
            return False
    return False


def _is_called(path: Path, split: str) -> bool:
    rest = path.name.removeprefix(split)
    return rest != path.name and not rest[:1].isalnum()


def _only_technology(kinds: "dict[Path, Format] | dict[Path, Format | None]", path: Path) -> Format | None:
    found = Counter(record.name for record in kinds.values() if record is not None)
    if len(found) > 1:
        some = next(file for file, record in kinds.items() if record is not None)
        raise ConfigError(
            f"{path} holds files of several formats ({', '.join(sorted(found))}): give one of the files, or a pattern "
            f"for those of one format, for example {str(some.with_name(f'*{some.suffix}'))!r}"
        )
    return get_format(next(iter(found))) if found else None


def _checked(files: Iterable[Path]) -> tuple[Path, ...]:
    for file in files:
        if not is_safe_name(file.name):
            raise UnsafeDataError(f"{file.parent / ascii(file.name)}: rename it: its name could mislead other tools")
    return tuple(files)
