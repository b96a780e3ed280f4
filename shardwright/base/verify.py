"""Check every byte of converted splits, and name what is damaged.

Nothing is trusted that was not checked before: first the manifest by the hash
that it holds of itself, then every file by size and hash, then the format finds
every sample anew and that must be what the index says. A file that was damaged is
not given to any library of its format; its samples are told apart by their hashes.
Nothing here, nor in any reader, unpickles.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import CorruptShardError, ShardwrightError
from shardwright.base.formats import get_format
from shardwright.base.progress import Progress
from shardwright.base.split.index import map_index
from shardwright.base.split.manifest import Manifest, load_manifest
from shardwright.base.split.paths import SplitPaths, split_names, unfinished_splits
from shardwright.base.verify_shard import Problem, ShardCheck, file_damage, reason_of

__all__ = ["Problem", "Report", "verify"]

MAX_THREADS = 4  # hashing releases the GIL; more threads only make a disk seek


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found.

    Parameters
    ----------
    dataset_path : Path
    splits : tuple of str
        What was checked.
    samples, files, nbytes : int
        How many samples, files and bytes these splits have by their manifests.
    problems : tuple of Problem
        Damage, and files that belong to nothing.
    left_over : tuple of Path
        What an unfinished or killed conversion left; does no harm.
    """

    dataset_path: Path
    splits: tuple[str, ...]
    samples: int
    files: int
    nbytes: int
    problems: tuple[Problem, ...] = ()
    left_over: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    dataset_path: str | Path,
    split: str | None = None,
    *,
    progress: bool | None = False,
    data_path: str | Path | None = None,
) -> Report:
    """Check every byte of one split, or of all splits of a folder.

    Parameters
    ----------
    dataset_path : path
        The converter's ``output_path``.
    split : str, optional
        By default all of them.
    progress : bool, optional
        Progress bar; ``None``: only on a terminal.
    data_path : path, optional
        The folder of the shard files, where they do not lie in the dataset's own.

    Returns
    -------
    Report
        With one `Problem` for each thing that is wrong. Damage is never an exception.

    Raises
    ------
    IncompleteDatasetError
        If there is no such split at all.

    Examples
    --------
    >>> verify("out").ok  # doctest: +SKIP
    True
    """
    root = Path(dataset_path).expanduser().absolute()
    names = [split] if split is not None else split_names(root) or ["train"]
    if not SplitPaths(root, names[0]).manifest.exists():
        load_manifest(SplitPaths(root, names[0]))  # says what there is instead
    problems: list[Problem] = []
    manifests: dict[str, Manifest] = {}
    for name in names:
        paths = SplitPaths(root, name)
        try:
            manifests[name] = _read_manifest(paths)
        except (ShardwrightError, OSError) as error:
            problems.append(Problem(paths.manifest, reason_of(error, paths.manifest), name))
    samples = sum(manifest.num_samples for manifest in manifests.values())
    with Progress(samples, progress) as bar:
        for name, manifest in manifests.items():
            problems += _check_split(SplitPaths(root, name).holding(manifest.data_dir, data_path), manifest, bar)
    strays, left_over = _strays(root, manifests, names, split)
    stored = [file for m in manifests.values() for file in m.metadata_files + m.shard_files]
    return Report(
        root,
        tuple(names),
        samples=samples,
        files=len(stored) + len(manifests),
        nbytes=sum(file.size for file in stored),
        problems=(*problems, *strays),
        left_over=tuple(left_over),
    )


def _read_manifest(paths: SplitPaths) -> Manifest:
    manifest = load_manifest(paths)
    get_format(manifest.format)  # raises where this library does not know it
    if paths.manifest.read_bytes() != manifest.to_bytes():
        # Another way to write the same values, which their hash does not see.
        raise CorruptShardError(f"{paths.manifest} is not, byte for byte, what was written")
    return manifest


def _check_split(paths: SplitPaths, manifest: Manifest, bar: Progress) -> Iterator[Problem]:
    for file in manifest.metadata_files:
        path = paths.metadata / file.name
        reason = file_damage(path, file)
        if reason:
            yield Problem(path, reason, paths.split)
    try:
        records: NDArray[Any] | None = map_index(paths.index, manifest)
    except (ShardwrightError, OSError):
        records = None  # told above; the shards are still checked by their own hashes
    starts = np.cumsum([0, *(shard.num_samples for shard in manifest.shards)]).tolist()

    def check(number: int) -> list[Problem]:
        rows = None if records is None else records[starts[number] : starts[number + 1]]
        return list(ShardCheck(paths, manifest, number, starts[number]).problems(rows))

    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for shard, found in zip(manifest.shards, pool.map(check, range(len(manifest.shards))), strict=True):
            yield from found
            bar.add(shard.num_samples, sum(file.size for file in shard.files))


def _strays(
    root: Path, manifests: dict[str, Manifest], names: list[str], only: str | None
) -> tuple[list[Problem], list[Path]]:
    """Return the files under ``data`` and ``metadata`` that belong to no split, and what conversions left.

    Beside these two folders everything is the user's: README.md, a licence, ...
    """
    known = {SplitPaths(root, name).manifest for name in names}
    for name, manifest in manifests.items():
        paths = SplitPaths(root, name)
        known |= {paths.metadata / file.name for file in manifest.metadata_files}
        known |= {paths.data / file.name for file in manifest.shard_files}
    broken = [SplitPaths(root, name) for name in names if name not in manifests]
    unfinished = [SplitPaths(root, name) for name in unfinished_splits(root)]
    wanted = None if only is None else SplitPaths(root, only)
    unknown, left_over = [], []
    # Where all splits are files that were there before, "data" is a folder like any other.
    adopted = bool(manifests) and all(manifest.is_adopted for manifest in manifests.values())
    folders = [root / name for name in ("data", "metadata")[adopted:] if (root / name).is_dir()]
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        if path in known or (wanted and not wanted.is_ours(path)) or any(paths.is_ours(path) for paths in broken):
            continue
        if path.name.startswith(".") or any(paths.is_ours(path) for paths in unfinished):
            left_over.append(path)
        else:
            unknown.append(Problem(path, "belongs to no split; move it away, or convert its split again", only))
    return unknown, left_over
