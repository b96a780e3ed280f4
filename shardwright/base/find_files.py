"""Which files are meant by a path that is to be indexed, and of which format they are."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from shardwright.base.errors import ConfigError, InputError, UnsafeDataError
from shardwright.base.formats import Format, format_names, get_format
from shardwright.base.storage.names import is_safe_name

__all__ = ["find_files"]


def find_files(path: Path, split: str, format_name: str | None) -> tuple[Format, list[Path], dict[str, int]]:
    """Find the files of a split: of one format, and in one folder.

    Parameters
    ----------
    path : Path
        A file, a folder, or a pattern for file names.
    split : str
        In a folder, files called after it (``train-0.tar``) are taken and others left, if there are any.
    format_name : str, optional

    Returns
    -------
    record : Format
    files : list of Path
        In the order of their names.
    ignored : dict of str to int
        What else the folder holds: reason to the number of files.

    Raises
    ------
    InputError
        If there are none.
    ConfigError
        If the files are of several formats, or of one that cannot be read in place.
    UnsafeDataError
        If the name of a file could mislead who reads it.
    """
    path, ignored, suffixes = path.absolute(), Counter[str](), _suffixes(format_name)
    every = tuple(suffix for own in suffixes.values() for suffix in own)
    if path.is_dir():
        found = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")]
        known = [entry for entry in found if entry.name.lower().endswith(every)]
        ignored["file of another kind"] = len(found) - len(known)
        chosen = [entry for entry in known if _is_called(entry, split)] or known
        ignored[f"file that is not called {split}"] = len(known) - len(chosen)
    else:
        chosen = _matching(path)
    if not chosen:
        inside = f"; is {path / 'data'} meant?" if (path / "data").is_dir() else ""
        raise InputError(f"{path} holds no files that are indexed; looked for {', '.join(every)}{inside}")
    for file in chosen:
        if not is_safe_name(file.name):
            raise UnsafeDataError(f"{file.parent / ascii(file.name)}: rename it: its name could mislead other tools")
    record = get_format(format_name) if format_name else _only_format(chosen, suffixes)
    return record, sorted(chosen), {reason: count for reason, count in ignored.items() if count}


def _matching(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.parent.is_dir() or not any(c in path.name for c in "*?["):
        raise InputError(f"{path} does not exist, or is no file; check the path (a pattern stands for file names only)")
    return [found for found in path.parent.glob(path.name) if found.is_file()]


def _is_called(path: Path, split: str) -> bool:
    rest = path.name.removeprefix(split)
    return rest != path.name and not rest[:1].isalnum()


def _suffixes(format_name: str | None) -> dict[str, tuple[str, ...]]:
    """Return name to suffixes, of one format or else of all that read files in place."""
    names = format_names() if format_name is None else [format_name]
    records = [record for record in map(get_format, names) if record.adopter or format_name]
    return {record.name: (record.suffix, *record.adopts) for record in records}


def _only_format(files: Iterable[Path], suffixes: Mapping[str, tuple[str, ...]]) -> Format:
    formats: set[str] = set()
    for path in files:
        found = [name for name, own in suffixes.items() if path.name.lower().endswith(own)]
        if not found:
            names = ", ".join(suffixes)
            raise ConfigError(f"{path}: its suffix tells no format that is read in place; pass format=, one of {names}")
        formats.update(found)
    if len(formats) > 1:
        raise ConfigError(f"the files are of several formats; pass format=, one of {', '.join(sorted(formats))}")
    return get_format(formats.pop())
