"""Plan, shard, publish: how files come to be on disk, whole or not at all.

The order of events, each durable before the next begins:

1. ``metadata/.<split>.plan.json``: what will be converted, and how.
2. Per shard: its files are written in a hidden folder under ``data/``, hashed,
   fsynced, renamed to their names; the folder is fsynced; then its part,
   ``metadata/.<split>.part-00000``: files, hashes and index records.
3. When all parts are there: the index, further files, and last the manifest.

A name without a leading dot is therefore never given to half of a file. A
killed run leaves parts; the next one keeps the shards whose parts, sizes and
hashes hold. A lock (see `lock`) keeps other writers out before they touch anything.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shardwright.base.errors import StorageError
from shardwright.base.split.manifest import DATA_DIR, Manifest, Shard, StoredFile
from shardwright.base.storage.files import hash_file

NOT_ALLOWED = "this process may not write there: choose another output, or mend the permissions"
CONVERT_AGAIN = (
    "make room or mend the file system, then run the same conversion again: it goes on from the last finished shard"
)

__all__ = [
    "Part",
    "SplitPaths",
    "make_folders",
    "publish_file",
    "publish_files",
    "publish_shard",
    "storage_errors",
    "sync_file",
    "sync_files",
    "sync_folder",
    "write_file",
]


@dataclass(frozen=True, slots=True)
class SplitPaths:
    """Where everything of one split lies."""

    root: Path
    split: str
    data_folder: Path | None = None

    def holding(self, manifest: Manifest, data_path: str | Path | None = None) -> "SplitPaths":
        """Return these paths with the shards where `data_path`, or else the manifest, says that they are."""
        folder = self.root / manifest.data_dir if data_path is None else Path(data_path).expanduser().absolute()
        return replace(self, data_folder=folder)

    @property
    def data(self) -> Path:
        """The folder of the shards."""
        return self.data_folder or self.root / DATA_DIR

    @property
    def metadata(self) -> Path:
        """The folder of manifest and index."""
        return self.root / "metadata"

    @property
    def manifest(self) -> Path:
        """The manifest, published last."""
        return self.metadata / f"{self.split}.json"

    @property
    def index(self) -> Path:
        """The byte-range index."""
        return self.metadata / f"{self.split}.index.npy"

    @property
    def skipped(self) -> Path:
        """The list of what was left out, if anything was."""
        return self.metadata / f"{self.split}.skipped.jsonl"

    @property
    def plan(self) -> Path:
        """The plan of a conversion under way."""
        return self.metadata / f".{self.split}.plan.json"

    @property
    def staging(self) -> "SplitPaths":
        """Where a split is written that will replace the one that is there."""
        return SplitPaths(self.metadata / f".{self.split}.new", self.split)

    @property
    def publish_lock(self) -> Path:
        """The lock of the process that publishes."""
        return self.metadata / f".{self.split}.publish-lock"

    def part(self, shard: int) -> Path:
        """The record of a finished shard."""
        return self.metadata / f".{self.split}.part-{shard:05d}"

    def rank(self, rank: int) -> Path:
        """The file that says that a rank has come, where a split is written that replaces another."""
        return self.metadata / f".{self.split}.rank-{rank}"

    def lock(self, rank: int) -> Path:
        """The lock of a rank."""
        return self.metadata / f".{self.split}.lock-{rank}"

    def work_folder(self, shard_name: str) -> Path:
        """The hidden folder in which a shard is written."""
        return self.data / f".{shard_name}.tmp"


@contextlib.contextmanager
def storage_errors(path: Path, mend: str = CONVERT_AGAIN) -> Iterator[None]:
    """Turn errors of the file system into `StorageError` with the path, the room left and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # raised by this or a format's library or by a dataset, not by the system
            raise
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageError(f"{path}: {error.strerror}; {NOT_ALLOWED}") from error
        room = ""
        with contextlib.suppress(OSError):
            room = f" ({shutil.disk_usage(path.parent).free:,} bytes free)"
        raise StorageError(f"{path}: {error.strerror or error}{room}; {mend}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":  # folders cannot be opened there; NTFS journals names itself
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(paths: SplitPaths) -> None:
    """Make the folders of a split, and make them durable."""
    for folder in (paths.metadata, paths.data):
        missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            with contextlib.suppress(PermissionError):  # what may not be listed cannot be opened
                sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_files(folder: Path) -> None:
    """Make the contents of a folder's files durable."""
    for path in sorted(folder.iterdir()):
        sync_file(path)


def write_file(path: Path, write: Callable[[Any], None]) -> StoredFile:
    """Write a file under a temporary name, make it durable, then give it its name.

    Parameters
    ----------
    path : Path
    write : callable
        Gets a binary file that takes ``write(bytes)``.

    Returns
    -------
    StoredFile
        Its size and hash.

    Raises
    ------
    StorageError
        If the file system fails; no file is left.
    """
    temporary = path.with_name(f".{path.name}.tmp" if not path.name.startswith(".") else f"{path.name}.tmp")
    with storage_errors(path):
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            stored = StoredFile(path.name.lstrip("."), temporary.stat().st_size, hash_file(temporary))
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)
    return stored


def publish_file(path: Path, content: bytes) -> StoredFile:
    """Write `content` as `write_file` does."""
    return write_file(path, lambda file: file.write(content))


def publish_files(folder: Path, contents: Mapping[str, bytes]) -> tuple[StoredFile, ...]:
    """Write files, name to content, as `write_file` does, in the order of their names."""
    return tuple(publish_file(folder / name, content) for name, content in sorted(contents.items()))


def publish_shard(
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
        publish_file(path, json.dumps(head).encode() + b"\n" + body)

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
