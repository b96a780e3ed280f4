"""Samples that lie in files of one technology: what all such sources share.

A technology says what lies in one file (`_look`), and reads what does not lie there
as it is (`_read`). The rest is here: several files, their common fields, reading at
the places, what messages call a sample, and what is indexed.
"""

import os
from abc import abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError, ShardwrightError
from shardwright.base.fields import Field, check_fields, sample_type_of
from shardwright.base.images import EncodedImage
from shardwright.base.source import Places, Source, digest_of, not_in_place
from shardwright.base.storage.files import FileCache, read_exactly
from shardwright.base.values.infer import kind_of_values
from shardwright.base.values.restore import restore

__all__ = ["FilesSource", "array_of", "value_of"]


class FilesSource(Source):
    """The samples of one or several files of one technology.

    Parameters
    ----------
    paths : path or sequence of paths
        The files, in the order of their samples.

    Raises
    ------
    InputError
        If a file is damaged, or holds no samples, or has nothing in common with the first.
    UnsafeDataError
        If a file asks for something dangerous, such as to read another one.
    """

    threads = True
    keeps_samples = True

    def __init__(self, paths: str | PathLike[str] | Sequence[str | PathLike[str]]) -> None:
        given = [paths] if isinstance(paths, (str, PathLike)) else paths
        files = [Path(path).expanduser().absolute() for path in given]
        self._states: dict[Path, tuple[int, int, int]] = {}
        self._parts = _common(self._look_at_all(files), files)
        self._starts = list(accumulate((part.count for part in self._parts), initial=0))
        self._files = FileCache()
        fields = self._parts[0].fields
        self.fields = {f.name: f.neutral() for f in fields}
        self.sample_type = sample_type_of(f.name for f in fields)
        left_out: Counter[str] = Counter()
        for part in self._parts:
            left_out.update(part.left_out)
        self.ignored = dict(sorted(left_out.items()))
        self.nbytes = sum(size for size, _, _ in self._states.values())

    @abstractmethod
    def _look(self, path: Path) -> Places:
        """Return what lies in the file, and in those beside it that belong to it; anything raised is told."""

    def _read(self, part: Places, field: Field, row: int) -> Any:
        """Return a value that does not lie in the file as it is (`Places.elsewhere`), as `__getitem__` gives it."""
        raise NotImplementedError(f"{type(self).__name__} names {field.name!r} as elsewhere, and does not read it")

    def values(self, name: str) -> Iterator[Any]:
        """Yield the values of one field, without reading the others."""
        for part in self._parts:
            field = next(f for f in part.fields if f.name == name)
            yield from (self._value(part, field, row) for row in range(part.count))

    def _sample_name(self, part: Places, row: int) -> str:
        """Return what messages call a sample."""
        return f"{part.files[0].name}, sample {row}"

    def _look_at_all(self, files: Sequence[Path]) -> list[Places]:
        """Return what lies in all files; one that belongs to another was looked at with it."""
        found: list[Places] = []
        used: set[Path] = set()
        for file in files:
            if file not in used:
                found.append(self._looked_at(file))
                used.update(found[-1].files)
        return found

    def _looked_at(self, path: Path) -> Places:
        self._states[path] = _state(path)
        try:
            part = self._look(path)
            for name, values in part.scalars.items():
                if len(values) != part.count:
                    raise InputError(f"{path}: field {name!r} has {len(values)} values of {part.count}")
            fields = (kind_of_values(f, part.ranges[f.name]) if f.name in part.ranges else f for f in part.fields)
            part = replace(part, fields=tuple(fields))
        except ShardwrightError:
            raise
        except Exception as error:  # a technology's library may raise anything about a damaged file
            raise InputError(
                f"{path} is damaged, or of another kind than its name says ({type(error).__name__}: {error}); "
                "copy or make it again"
            ) from error
        self._states |= {file: _state(file) for file in part.files if file not in self._states}
        return part

    def __len__(self) -> int:
        return self._starts[-1]

    def _place(self, index: int) -> tuple[Places, int]:
        number = bisect_right(self._starts, index) - 1
        return self._parts[number], index - self._starts[number]

    def __getitem__(self, index: int) -> dict[str, Any]:
        part, row = self._place(index)
        return {f.name: self._value(part, f, row) for f in part.fields}

    def _value(self, part: Places, field: Field, row: int) -> Any:
        if field.is_scalar:
            return part.scalars[field.name].item(row)
        ranges = part.ranges.get(field.name)
        if ranges is None:
            return self._read(part, field, row)
        return value_of(field, self._read_at(ranges.path, ranges.offsets.item(row), ranges.lengths.item(row)))

    def _read_at(self, path: Path, offset: int, length: int) -> bytes:
        """Read some bytes of a file, which must still have its size."""
        with self._files.open(path, self._states[path][0]) as fd:
            return read_exactly(fd, length, offset, path)

    def name(self, index: int) -> str:
        """Return file and number of the sample."""
        return self._sample_name(*self._place(index))

    def places(self) -> list[Places]:
        """Return where the values lie, file by file; what does not lie there as it is is left out and counted."""
        fields = self._parts[0].fields
        kept = [f for f in fields if f.is_scalar or all(f.name in part.ranges for part in self._parts)]
        lost = [f for f in fields if f not in kept]
        # Captions without their images are not what was asked for.
        if all(f.is_scalar for f in kept) or (any(f.is_image for f in lost) and not any(f.is_image for f in kept)):
            reasons = {f"field {name!r}: {why}" for part in self._parts for name, why in part.elsewhere.items()}
            raise not_in_place(self._parts[0].files[0], "; ".join(sorted(reasons)) or "it holds numbers only")
        return [_in_place(part, tuple(kept)) for part in self._parts]

    def changed(self) -> str | None:
        """Return the file that has another size, time or inode than when it was looked at, if there is one."""
        return next((str(path) for path, state in self._states.items() if _state(path) != state), None)

    def content(self) -> dict[str, Any]:
        """Return number of samples, and a digest of the files' names and sizes."""
        names = b"\0".join(os.fsencode(path.name) for path in self._states)
        sizes = np.array([size for size, _, _ in self._states.values()], np.int64)
        return {"num_samples": len(self), "digest": digest_of(names, sizes)}

    def state(self) -> str:
        """Return a digest that covers modification times, too."""
        states = np.array(list(self._states.values()), np.int64)
        return digest_of(b"\0".join(map(os.fsencode, self._states)), states)


def _state(path: Path) -> tuple[int, int, int]:
    """Return size, time of the last change (ns) and inode of a file."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path and the permissions") from error
    return status.st_size, status.st_mtime_ns, status.st_ino


def value_of(field: Field, data: bytes) -> Any:
    """Return a value as sources give it: image files as they are, pixels (H, W[, C]), others restored."""
    if not field.is_fixed:
        return EncodedImage(data) if field.is_image else restore(field, data, "numpy")
    return array_of(field, np.frombuffer(bytearray(data), np.dtype(field.dtype)).reshape(field.shape or ()))


def array_of(field: Field, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of fixed size as sources give it: pixels (H, W[, C]), others as they are."""
    if not field.is_image:
        return array
    if field.layout == "CHW":
        array = np.ascontiguousarray(array.transpose(1, 2, 0))
    return array[:, :, 0] if array.shape[2:] == (1,) else array


def _common(parts: Sequence[Places], files: Sequence[Path]) -> tuple[Places, ...]:
    """Return the files that hold samples, each with the fields that all have alike, image and label first."""
    filled = [part for part in parts if part.count]
    if not filled:
        raise InputError(f"{files[0]} holds no samples")
    plain = {f.name for part in filled for f in part.fields if f.kind == "bytes"}
    filled = [_with_bytes(part, plain) for part in filled]
    fields = [f for f in filled[0].fields if all(f in part.fields for part in filled)]
    if all(f.is_scalar for f in fields):
        _nothing_in_common(filled)
    fields.sort(key=lambda f: (f.name != "image", f.name != "label"))
    check_fields(tuple(fields))
    return tuple(_only(part, tuple(fields)) for part in filled)


def _nothing_in_common(parts: Sequence[Places]) -> None:
    first = parts[0]
    other = next((part for part in parts if part.fields != first.fields), first)
    if other is first:
        raise InputError(f"{first.files[0]} has the fields {_named(first)}: no image, text or array; nothing to read")
    raise InputError(
        f"{first.files[0]} has the fields {_named(first)}, {other.files[0]} has {_named(other)}: nothing to read "
        "in both; give files that are alike"
    )


def _named(part: Places) -> str:
    return ", ".join(f"{f.name} ({f.kind})" for f in part.fields) or "none"


def _with_bytes(part: Places, plain: set[str]) -> Places:
    """Return it with some fields as plain bytes: those that are nothing else in another file."""
    fields = [Field(f.name, "bytes") if f.name in plain and not f.is_fixed else f for f in part.fields]
    return replace(part, fields=tuple(fields))


def _only(part: Places, fields: tuple[Field, ...]) -> Places:
    """Return it with some fields; the others are left out and counted."""
    dropped = {f"field {f.name}: not alike in all files": part.count for f in part.fields if f not in fields}
    return replace(part, fields=fields, left_out={**part.left_out, **dropped})


def _in_place(part: Places, fields: tuple[Field, ...]) -> Places:
    """Return it with the fields that are indexed; the others are counted with the reason."""
    others = [f.name for f in part.fields if f not in fields]
    reasons = {f"field {name}: {part.elsewhere.get(name, 'not in place in all files')}" for name in others}
    return replace(part, fields=fields, left_out=dict.fromkeys(sorted(reasons), part.count), elsewhere={})
