"""Check one shard of a split: its files, where its samples lie, and every stored value."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, CorruptShardError, ShardwrightError, text_of
from shardwright.base.fields import Field
from shardwright.base.formats import Format, get_format
from shardwright.base.open_source import open_files
from shardwright.base.split.index import trim
from shardwright.base.split.manifest import Manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import StoredFile, check_file
from shardwright.base.storage.files import read_exactly
from shardwright.base.storage.ranges import Ranges

__all__ = ["Problem", "ShardCheck", "file_damage", "reason_of"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written; `str` makes one line of it.

    Parameters
    ----------
    path : Path
        The file.
    reason : str
        What is wrong with it.
    split : str, optional
    shard : int, optional
    sample : int, optional
        Number of the sample in the split, not in the shard.
    field : str, optional
    """

    path: Path
    reason: str
    split: str | None = None
    shard: int | None = None
    sample: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        names = ("split", "shard", "sample", "field")
        where = [f"{name} {getattr(self, name)}" for name in names if getattr(self, name) is not None]
        line = ": ".join(part for part in (str(self.path), ", ".join(where), self.reason) if part)
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def reason_of(error: Exception, path: Path) -> str:
    """Return what an error says, without the path that it begins with."""
    return text_of(error).removeprefix(str(path)).lstrip(": ")


def file_damage(path: Path, stored: StoredFile) -> str | None:
    """Return how a file differs from what was written, if it does."""
    try:
        check_file(path, stored)
    except (ShardwrightError, OSError) as error:
        return reason_of(error, path)
    return None


def _find(
    record: Format, path: Path, fields: tuple[Field, ...], adopted: bool
) -> tuple[Mapping[str, Ranges], Mapping[str, NDArray[Any]]]:
    """Let the format find the stored values of a shard, and read the others."""
    if adopted and record.converter:  # other formats are never written: what their readers find is somebody's
        (found,) = open_files(path).places()
        return found.ranges, {f.name: found.scalars[f.name] for f in fields if f.is_scalar}
    reader = record.load_reader()
    return reader._locate(path, fields), reader._read_scalars(path, fields)


@dataclass(frozen=True, slots=True)
class ShardCheck:
    """The checks of one shard, whose first sample is number `start` of the split."""

    paths: SplitPaths
    manifest: Manifest
    number: int
    start: int

    @property
    def _files(self) -> list[Path]:
        return [self.paths.data / file.name for file in self.manifest.shards[self.number].files]

    def _file_of(self, field: Field) -> Path:
        return self._files[self.manifest.field_files[field.name]]

    def _problem(self, path: Path, reason: str, row: int | None = None, field: str | None = None) -> Problem:
        sample = None if row is None else self.start + row
        return Problem(path, reason, self.paths.split, self.number, sample, field)

    def problems(self, rows: NDArray[Any] | None) -> Iterator[Problem]:
        """Yield all that is wrong, given the shard's records of the index."""
        stored = self.manifest.shards[self.number].files
        found = [(path, file_damage(path, file)) for path, file in zip(self._files, stored, strict=True)]
        damaged = [self._problem(path, reason) for path, reason in found if reason]
        yield from damaged
        if rows is None:
            return
        if not damaged:
            yield from self._compare_with_format(rows)
        for f in self.manifest.fields:
            if not f.is_scalar:
                with contextlib.suppress(OSError):  # a file that cannot be opened is told above
                    yield from self._compare_hashes(self._file_of(f), f.name, rows)

    def _compare_with_format(self, rows: NDArray[Any]) -> Iterator[Problem]:
        """Let the format find every value, and compare with the index."""
        record = get_format(self.manifest.format)
        count, fields = len(self.manifest.shards), self.manifest.fields
        path = self.paths.data / f"{self.paths.split}-{self.number:05d}-of-{count:05d}{record.suffix}"
        if self.manifest.is_adopted:
            path = self._files[0]
        try:
            located, scalars = _find(record, path, fields, self.manifest.is_adopted)
            ranges = {f: trim(f, located[f.name]) for f in fields if not f.is_scalar}
        except ConfigError:  # a library is missing: the file is not at fault
            raise
        except ImportError as error:
            raise ConfigError(f"checking {record.name} needs {error.name}: pip install {error.name}") from error
        except Exception as error:  # noqa: BLE001 - a format's library may raise anything
            yield self._problem(path, f"{record.name} cannot read it: {reason_of(error, path)}")
            return
        for f, found in ranges.items():
            yield from self._compare_ranges(f, found, rows)
        for name, values in scalars.items():
            yield from self._compare_scalars(path, name, np.asarray(values), rows)

    def _compare_ranges(self, field: Field, found: Ranges, rows: NDArray[Any]) -> Iterator[Problem]:
        name = field.name
        if found.path != self._file_of(field) or len(found.offsets) != len(rows):
            reason = f"holds {len(found.offsets)} values in {found.path.name}, the manifest says {len(rows)}"
            yield self._problem(self._file_of(field), reason, field=name)
            return
        offsets, lengths = rows[f"{name}_offset"], rows[f"{name}_length"]
        for row in np.flatnonzero((found.offsets != offsets) | (found.lengths != lengths)).tolist():
            here = f"{found.lengths[row]} bytes at byte {found.offsets[row]}"
            yield self._problem(found.path, f"{here}, the index says {lengths[row]} at {offsets[row]}", row, name)

    def _compare_scalars(self, path: Path, name: str, found: NDArray[Any], rows: NDArray[Any]) -> Iterator[Problem]:
        if found.shape != rows.shape:
            yield self._problem(path, f"holds {len(found)} values, the manifest says {len(rows)}", field=name)
            return
        wanted = rows[name]
        if found.dtype.kind not in "biuf":
            yield self._problem(path, f"holds values of type {found.dtype}, not numbers", field=name)
            return
        same = (found == wanted) | ((found != found) & (wanted != wanted))  # noqa: PLR0124 - NaN equals NaN here
        for row in np.flatnonzero(~same).tolist():
            yield self._problem(path, f"is {found[row]}, the index says {wanted[row]}", row, name)

    def _compare_hashes(self, path: Path, name: str, rows: NDArray[Any]) -> Iterator[Problem]:
        """Hash every value where the index says that it lies."""
        columns = (rows[f"{name}_{part}"].tolist() for part in ("offset", "length", "xxh3"))
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            for row, (offset, length, wanted) in enumerate(zip(*columns, strict=True)):
                try:
                    if offset < 0 or length < 0 or offset + length > size:
                        raise CorruptShardError(f"they are not in the file of {size} bytes")
                    found = xxhash.xxh3_64_intdigest(read_exactly(file.fileno(), length, offset, path))
                    if found != wanted:
                        raise CorruptShardError(f"their xxh3-64 is {found:016x}, the index says {wanted:016x}")
                except ShardwrightError as error:
                    yield self._problem(path, f"{length} bytes at byte {offset}: {reason_of(error, path)}", row, name)
