"""Folders that `export` wrote: all that their ``metadata.jsonl`` says of the images, not only their class folders."""

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import InputError, UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage
from shardwright.base.images.probe import has_image_name
from shardwright.base.source import Places, Source, digest_of, not_in_place
from shardwright.base.split.classes import label_field
from shardwright.base.storage.names import checked_status
from shardwright.base.storage.strict_json import parse_json
from shardwright.base.values.export_note import NOTE, ExportNote
from shardwright.folders.files import PackedNames

__all__ = ["LINES", "ExportedFolder", "is_exported", "key_of"]

LINES = "metadata.jsonl"


def is_exported(folder: Path) -> bool:
    """Whether a folder is one that `export` wrote, whose class folders do not say everything."""
    return (folder / NOTE).is_file() and (folder / LINES).is_file()


def key_of(field: Field, is_first: bool) -> str:
    """Return what a field is called in ``metadata.jsonl``."""
    if field.is_image:
        return "file_name" if is_first else f"{field.name}_file_name"
    return f"{field.name}_path" if _has_file(field) else field.name


def _has_file(field: Field) -> bool:
    return field.is_image or field.kind in ("array", "bytes")


class ExportedFolder(Source):
    """The samples of a folder that was exported, with their numbers, names and further fields.

    Parameters
    ----------
    root : path

    Raises
    ------
    InputError
        If the images are not those that ``metadata.jsonl`` names.
    UnsafeDataError
        If it names a file outside of the folder.
    """

    threads = True
    keeps_samples = True

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        note = ExportNote.read(self._root)
        if note is None:
            raise InputError(f"{self._root / NOTE} is gone: convert the folder again")
        self.fields, self.sample_type = note.fields, note.sample_type
        first = next((f for f in self.fields.values() if f.kind == "image"), None)
        self._keys = {f.name: key_of(f, f == first) for f in self.fields.values()}
        self.labels_from = LINES if label_field(tuple(self.fields.values())) else ""
        self._lines = PackedNames(_lines(self._root / LINES))
        self._look_at_files()

    def _look_at_files(self) -> None:
        """See that every file that is named is there, and that no image is there that is not named."""
        named: set[str] = {NOTE, LINES}
        identity = []
        for index in range(len(self)):
            line = self._line(index)
            for name in (line[self._keys[f.name]] for f in self.fields.values() if _has_file(f)):
                status = checked_status(os.fsencode(self._root / self._safe(name, index)))
                identity.append((status.st_size, status.st_mtime_ns))
                named.add(name)
        other = [name for name in _files_below(self._root) if name not in named]
        stray = next((name for name in sorted(other) if has_image_name(os.fsencode(name))), None)
        if stray is not None:
            raise InputError(
                f"{self._root / stray} is not in {LINES}, which says the labels of this folder: add a line for it, or "
                f"delete {self._root / NOTE} to have the class folders read as they are, numbered by their names"
            )
        self.ignored = {f"file that is not in {LINES}": len(other)} if other else {}
        files = np.array(identity, np.int64).reshape(-1, 2)
        self._sizes, self.nbytes = digest_of(files[:, 0]), int(files[:, 0].sum())
        self._times = digest_of(files[:, 1])

    def _line(self, index: int) -> dict[str, Any]:
        where = f"{self._root / LINES}, line {index + 1}"
        try:
            line = parse_json(self._lines[index], where)
        except ValueError as error:
            line = error
        if not isinstance(line, dict) or not line.keys() >= set(self._keys.values()):
            raise InputError(
                f"{where} is no JSON object with the entries {', '.join(self._keys.values())}: mend it, or delete "
                f"{self._root / NOTE} to have the class folders read as they are"
            )
        return line

    def _safe(self, name: Any, index: int) -> str:
        parts = Path(name).parts if isinstance(name, str) else ()
        if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name:
            raise UnsafeDataError(f"{self._root / LINES}, line {index + 1} names {name!r:.200}, no file of the folder")
        return str(name)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> dict[str, Any]:
        line = self._line(index)
        return {name: self._value(f, line[self._keys[name]], index) for name, f in self.fields.items()}

    def _value(self, field: Field, stored: Any, index: int) -> Any:
        if not _has_file(field):
            return float("nan") if field.kind == "float" and stored is None else stored
        data = (self._root / self._safe(stored, index)).read_bytes()
        if field.is_image:
            return EncodedImage(data, os.path.basename(stored))
        return data if field.kind == "bytes" else np.load(io.BytesIO(data), allow_pickle=False)

    def name(self, index: int) -> str:
        """Return the path of the image, relative to the root."""
        return str(self._line(index).get("file_name", super().name(index)))

    def places(self) -> Sequence[Places]:
        """Raise `InputError`: a shard is a file of many samples."""
        raise not_in_place(self._root, "every image is a file of its own")

    def content(self) -> dict[str, Any]:
        """Return the number of samples, an xxh3-128 of all lines and one of the sizes of all files."""
        return {"num_samples": len(self), "lines": digest_of(self._lines.ends, self._lines.blob), "sizes": self._sizes}

    def state(self) -> str:
        """Return a digest of the times of all files."""
        return self._times


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in map(bytes.strip, file) if line)


def _files_below(root: Path) -> Iterator[str]:
    """Yield the files in a folder and below it, relative to it; hidden ones are no input."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(folder).relative_to(root)
        yield from ((inside / name).as_posix() for name in names if not name.startswith("."))
