"""The manifest of a split: frozen dataclasses, strict JSON in and out.

``metadata/<split>.json`` is published last. A split exists if and only if its
manifest parses and the hash that it holds of itself is right. Everything in
it is a pure function of the input and the options: no times, no host names.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from shardwright.base.arguments import SPLIT_NAME
from shardwright.base.errors import ConfigError, CorruptShardError, IncompleteDatasetError, UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.split.paths import DATA_DIR, SplitPaths, split_names
from shardwright.base.storage.atomic import StoredFile
from shardwright.base.storage.strict_json import canonical_json, parse_json

__all__ = ["FORMAT_VERSION", "Manifest", "Shard", "load_manifest"]

FORMAT_VERSION = 1
# Of the files that this library writes, and of files that were there before and are only indexed.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard: how many samples it holds and in which files."""

    num_samples: int
    files: tuple[StoredFile, ...]

    def __post_init__(self) -> None:
        if type(self.num_samples) is not int or not 0 <= self.num_samples < 2**63:
            raise UnsafeDataError(f"a shard with {self.num_samples!r} samples")


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a reader must know of a split before its first read.

    Parameters
    ----------
    format : str
        Name in the table of formats, for example ``"parquet"``.
    split : str
    sample_type : {"tuple", "dict"}
        What a reader hands out.
    fields : tuple of Field
        In the order of the samples' values.
    field_files : dict of str to int
        For every field that is not in the index itself: which of a shard's
        files holds it.
    modes : dict of str to dict
        Of every image field: Pillow mode to number of images.
    shards : tuple of Shard
    index : StoredFile
    plan : dict
        Options and content of the input, to tell what a resume would change.
    skipped : int
        Samples left out with ``on_error="skip"``.
    ignored : dict of str to int
        What was found beside the samples, and warnings about images: reason to count.
    extra : tuple of StoredFile
        Further files under ``metadata/``, for other tools.
    data_dir : {"data", "."}
        Where the shards lie in the dataset's folder; "." for files that were
        there before and are only indexed.
    """

    format: str
    split: str
    sample_type: str
    fields: tuple[Field, ...]
    field_files: dict[str, int]
    modes: dict[str, dict[str, int]]
    shards: tuple[Shard, ...]
    index: StoredFile
    plan: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    extra: tuple[StoredFile, ...] = ()
    data_dir: str = DATA_DIR
    num_samples: int = field(init=False)  # samples in all shards, added up once

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_samples", sum(shard.num_samples for shard in self.shards))

    @property
    def shard_files(self) -> list[StoredFile]:
        """The files of all shards."""
        return [file for shard in self.shards for file in shard.files]

    @property
    def metadata_files(self) -> list[StoredFile]:
        """The files under ``metadata/``, without the manifest itself."""
        return [self.index, *self.extra]

    @property
    def is_adopted(self) -> bool:
        """Whether the shards are files that were there before, and not written by this library."""
        return self.data_dir != DATA_DIR

    def __repr__(self) -> str:
        """Return one line, for notebooks: there may be thousands of shards and classes."""
        fields = ", ".join(f"{f.name} ({f.kind})" for f in self.fields)
        size = f"{self.num_samples:,} samples in {len(self.shards):,} shards"
        return f"<Manifest of split {self.split!r}, {self.format}: {size}; fields {fields}>"

    def to_bytes(self) -> bytes:
        """Return the file's content, with the hash of itself."""
        values = asdict(self)
        values |= {"fields": [f.to_json() for f in self.fields], "format_version": FORMAT_VERSION}
        if not self.is_adopted:
            del values["data_dir"]
        values["self_hash"] = _self_hash(values)
        return canonical_json(values).encode()

    @classmethod
    def from_bytes(cls, text: bytes, path: Path) -> "Manifest":
        """Parse a manifest and check it.

        Raises
        ------
        IncompleteDatasetError
            If it is cut, damaged or of another version.
        UnsafeDataError
            If it names files or sizes that this library never writes.
        """
        try:
            values = parse_json(text, str(path))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise IncompleteDatasetError(
                f"{path} is cut or damaged ({error}); run the conversion again to publish the split"
            ) from error
        version = values.pop("format_version", None) if isinstance(values, dict) else None
        if version != FORMAT_VERSION or isinstance(version, bool):
            raise IncompleteDatasetError(
                f"{path} has format version {version!r}, this library reads {FORMAT_VERSION}; "
                "use the library version that wrote it, or convert again"
            )
        stored = values.pop("self_hash", None)
        if stored != _self_hash(values | {"format_version": version}):
            raise IncompleteDatasetError(
                f"{path} does not match the hash it holds of itself: it was edited or damaged; "
                "restore it from a copy or convert again"
            )
        return cls._from_values(values, path)

    @classmethod
    def _from_values(cls, values: dict[str, Any], path: Path) -> "Manifest":
        total = values.pop("num_samples", None)
        try:
            values["fields"] = tuple(Field.from_json(f) for f in values["fields"])
            values["shards"] = tuple(
                Shard(s["num_samples"], tuple(StoredFile(**f) for f in s["files"])) for s in values["shards"]
            )
            values["index"] = StoredFile(**values["index"])
            values["extra"] = tuple(StoredFile(**f) for f in values["extra"])
            manifest = cls(**values)
            manifest._check()
        except (TypeError, KeyError, AttributeError, IndexError, ConfigError) as error:
            raise UnsafeDataError(f"{path}: not a manifest of this library: {error!r}") from error
        if total != manifest.num_samples:
            raise UnsafeDataError(f"{path}: num_samples is {total!r}, the shards hold {manifest.num_samples}")
        return manifest

    def _check(self) -> None:
        if not isinstance(self.split, str) or not SPLIT_NAME.fullmatch(self.split):
            raise UnsafeDataError(f"split name {self.split!r} is not allowed")
        if self.sample_type not in ("tuple", "dict"):
            raise UnsafeDataError(f"sample_type {self.sample_type!r} is not 'tuple' or 'dict'")
        self._check_names()
        stored = {f.name for f in self.fields if not f.is_scalar}
        if self.field_files.keys() != stored:
            names = sorted(self.field_files)
            raise UnsafeDataError(f"field_files names {names}, the stored fields are {sorted(stored)}")
        for shard in self.shards:
            for name, number in self.field_files.items():
                if type(number) is not int or not 0 <= number < len(shard.files):
                    raise UnsafeDataError(f"field {name!r} lies in file {number!r} of {len(shard.files)}")

    def _check_names(self) -> None:
        if self.data_dir not in (DATA_DIR, "."):
            raise UnsafeDataError(f"data_dir {self.data_dir!r} is not '{DATA_DIR}' or '.'")
        for file in self.metadata_files + ([] if self.is_adopted else self.shard_files):
            if not _FILE_NAME.fullmatch(file.name):
                raise UnsafeDataError(f"{file.name!r} is not a file name that this library writes")


def _self_hash(values: dict[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(canonical_json(values).encode())


def load_manifest(paths: SplitPaths) -> Manifest:
    """Read and check the manifest of a published split.

    Raises
    ------
    IncompleteDatasetError
        If there is none; the message says what there is instead.
    """
    try:
        content = paths.manifest.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise IncompleteDatasetError(_missing(paths)) from None
    manifest = Manifest.from_bytes(content, paths.manifest)
    if manifest.split != paths.split:
        raise CorruptShardError(f"{paths.manifest} is the manifest of split {manifest.split!r}; rename it back")
    return manifest


def _missing(paths: SplitPaths) -> str:
    if paths.plan.exists():
        return (
            f"{paths.root}: the conversion of split {paths.split!r} is not finished; run it again to go on, "
            f"or, if all shards are written, run: shardwright finalize {paths.root} --split {paths.split}"
        )
    if not paths.root.exists():
        return f"{paths.root} does not exist, so it holds no converted split; check the path"
    splits = split_names(paths.root)
    there = f"it holds the splits {', '.join(splits)}" if splits else "it holds no converted split"
    where = f", or open {paths.root.parent}" if split_names(paths.root.parent) else ""
    return f"{paths.root} has no split {paths.split!r}: {there}; check the path and split={where}"
