"""Part: what is known of one finished shard, and the file that keeps it until the split is published."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.split.manifest import Shard
from shardwright.base.storage.atomic import StoredFile, storage_errors, sync_folder, write_bytes
from shardwright.base.storage.hashes import hash_file

__all__ = ["Part", "finish_shard"]


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of a finished shard.

    Parameters
    ----------
    shard : Shard
    field_files : dict of str to int
        Which of the files holds which field.
    modes : dict of str to dict
        Image field: Pillow mode to count.
    skipped : list of dict
        Samples left out: index, name and reason.
    extra : tuple of StoredFile
        Further files of the shard under ``metadata/``.
    warnings : dict of str to int
        About images that were read all the same: text to count.
    """

    shard: Shard
    field_files: dict[str, int]
    modes: dict[str, dict[str, int]]
    skipped: list[dict[str, Any]]
    extra: tuple[StoredFile, ...] = ()
    warnings: dict[str, int] = field(default_factory=dict)

    def write(self, path: Path, records: NDArray[Any]) -> None:
        """Publish the part with its index records behind it."""
        body = records.tobytes()
        head = asdict(self) | {"records_xxh3": xxhash.xxh3_64_hexdigest(body)}
        write_bytes(path, json.dumps(head).encode() + b"\n" + body)

    @classmethod
    def read(cls, path: Path, dtype: np.dtype[Any]) -> tuple["Part", NDArray[Any]] | None:
        """Read a part; ``None`` if there is none or it does not hold."""
        try:
            head, _, body = path.read_bytes().partition(b"\n")
            values = json.loads(head)
            if values.pop("records_xxh3") != xxhash.xxh3_64_hexdigest(body):
                return None
            files = tuple(StoredFile(**f) for f in values["shard"]["files"])
            values["shard"] = Shard(values["shard"]["num_samples"], files)
            values["extra"] = tuple(StoredFile(**f) for f in values["extra"])
            return cls(**values), np.frombuffer(body, dtype)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def holds(self, data: Path) -> bool:
        """Whether the shard's files are there, with their sizes and hashes."""
        paths = [data / f.name for f in self.shard.files]
        sizes = [p.stat().st_size if p.is_file() else -1 for p in paths]
        return sizes == [f.size for f in self.shard.files] and all(
            hash_file(p) == f.xxh3 for p, f in zip(paths, self.shard.files, strict=True)
        )


def finish_shard(
    folder: Path, target: Path, synced: Callable[[], object], hashes: Mapping[Path, str]
) -> tuple[StoredFile, ...]:
    """Move a finished shard's files to `target`, as soon as they are durable (`synced` returns).

    Parameters
    ----------
    folder, target : Path
    synced : callable
    hashes : mapping of Path to str
        Of files that need not be hashed any more.
    """
    with storage_errors(target / folder.name):
        paths = sorted(folder.iterdir())
        stored = [StoredFile(p.name, p.stat().st_size, hashes.get(p) or hash_file(p)) for p in paths]
        synced()
        for file in stored:
            (folder / file.name).replace(target / file.name)
        folder.rmdir()
        sync_folder(target)
    return tuple(stored)
