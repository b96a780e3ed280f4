"""The last step of a conversion: index and manifest, once all shards are there."""

import contextlib
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.base.commit import Part, SplitPaths, publish_file, storage_errors, sync_folder, take_lock, write_file
from datasets.base.errors import CorruptShardError, IncompleteDatasetError, LockedError, PlanMismatchError
from datasets.base.formats import get_format
from datasets.base.index import check_file, check_size, index_dtype, npy_header_of
from datasets.base.manifest import SPLIT_NAME, Manifest, StoredFile, canonical_json
from datasets.base.plan import Plan, differences, listing_path, pause

__all__ = [
    "begun_by",
    "check_split_files",
    "finalize",
    "finish_swap",
    "finished",
    "load_manifest",
    "publish_when_complete",
    "rank_path",
    "split_names",
    "staging_paths",
]


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
    splits = split_names(paths.root)
    there = f"it holds the splits {', '.join(splits)}" if splits else "it holds no converted split"
    return f"{paths.root} has no split {paths.split!r}: {there}; check the path and split="


def split_names(dataset_path: str | Path) -> list[str]:
    """Return the names of the published splits of a folder, sorted."""
    stems = (p.stem for p in (Path(dataset_path) / "metadata").glob("*.json"))
    return sorted(stem for stem in stems if SPLIT_NAME.fullmatch(stem))


def staging_paths(paths: SplitPaths) -> SplitPaths:
    """Return where a split is written that will replace the one that is there."""
    return SplitPaths(paths.metadata / f".{paths.split}.new", paths.split)


def finished(paths: SplitPaths, plan: Plan, moving: bool = False) -> bool:
    """Whether the split is published already, by the same plan.

    With `moving` its files may be on their way to another folder, and are not looked at.

    Raises
    ------
    PlanMismatchError
        If it was published by another plan.
    """
    if not paths.manifest.exists():
        return False
    manifest = load_manifest(paths)
    lines = differences(plan.published(), manifest.plan)
    if lines:
        raise PlanMismatchError(
            f"{paths.root}: split {paths.split!r} is there already, made otherwise: {'; '.join(lines)}. "
            "Pass overwrite=True to replace it, or choose another split= or output_path="
        )
    if not moving:
        check_split_files(paths, manifest)
    return True


def begun_by(paths: SplitPaths, plan: Plan) -> bool:
    """Whether a split that is written aside, finished or not, is of this plan."""
    if not paths.manifest.exists():
        return Plan.read(paths.plan) in (None, plan)
    try:
        return not differences(plan.published(), load_manifest(paths).plan)
    except IncompleteDatasetError:  # damaged
        return False


def check_split_files(paths: SplitPaths, manifest: Manifest) -> None:
    """Raise unless the index holds and all shards have their sizes."""
    check_file(paths.index, manifest.index)
    for shard in manifest.shards:
        for file in shard.files:
            check_size(paths.data / file.name, file)


def publish_when_complete(
    paths: SplitPaths, target: SplitPaths, plan: Plan, world: int, wait: bool, timeout: float
) -> Manifest | None:
    """Publish the split if all shards are there; else wait for the rank that will.

    Whoever sees the last shard publishes. No collective is held meanwhile.

    Parameters
    ----------
    paths, target : SplitPaths
        Where the split will be, and where its shards are written.
    plan : Plan
    world : int
        Number of ranks. A split that is replaced is so once all of them have come: a late
        one would take the new split for the old one, and wait for the others for ever.
    wait : bool
        Whether to wait at all.
    timeout : float
        Seconds without any new shard after which to give up.

    Raises
    ------
    IncompleteDatasetError
        If no shard was added for that time; the message names the missing ones.
    """
    since, last = time.monotonic(), (-1, -1)
    while True:
        if _swapped(paths, target):
            return load_manifest(paths)
        missing = _missing_shards(target, plan)
        absent = [] if missing or target == paths else _absent_ranks(target, world)
        if not missing and not absent:
            with contextlib.suppress(LockedError):  # another rank publishes just now
                return _publish(paths, target, plan)
        elif not wait:
            return None
        if (len(missing), len(absent)) != last:
            since, last = time.monotonic(), (len(missing), len(absent))
        waited = time.monotonic() - since
        if waited > timeout and absent:
            raise IncompleteDatasetError(
                f"{paths.root}: all shards of split {paths.split!r} are written, but ranks {_shown(absent)} have not "
                f"come in {waited:.0f} s; run it again, or: shardwright finalize {paths.root} --split {paths.split}"
            )
        if waited > timeout:
            raise IncompleteDatasetError(_stalled(paths, missing, waited))
        time.sleep(pause(waited))


def _swapped(paths: SplitPaths, target: SplitPaths) -> bool:
    return target != paths and not target.root.exists() and paths.manifest.exists()


def _missing_shards(paths: SplitPaths, plan: Plan) -> list[int]:
    """Return the shards without a part; none once the manifest is there. Listing makes an NFS client look anew."""
    try:
        names = set(os.listdir(paths.metadata))
    except FileNotFoundError:  # swapped in just now, by another rank
        return []
    if paths.manifest.name in names:
        return []
    return [k for k in range(plan.num_shards) if paths.part(k).name not in names]


def rank_path(paths: SplitPaths, rank: int) -> Path:
    """Return the file that says that a rank has come, where a split is written that replaces another."""
    return paths.metadata / f".{paths.split}.rank-{rank}"


def _absent_ranks(target: SplitPaths, world: int) -> list[int]:
    try:
        names = set(os.listdir(target.metadata))
    except FileNotFoundError:  # swapped in just now
        return []
    if world == 1 or target.manifest.name in names:
        return []
    return [rank for rank in range(world) if rank_path(target, rank).name not in names]


def _shown(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")


def _stalled(paths: SplitPaths, missing: list[int], waited: float | None = None) -> str:
    since = "" if waited is None else f", and none was added in {waited:.0f} s: have other ranks ended?"
    return (
        f"{paths.root}: split {paths.split!r} lacks {len(missing)} shards: {_shown(missing)}{since}; "
        "run the conversion again (any number of ranks) to write them"
    )


def _publish(paths: SplitPaths, target: SplitPaths, plan: Plan) -> Manifest:
    with _publish_lock(paths):
        if not _swapped(paths, target):
            if not target.manifest.exists():
                write_manifest(target, plan)
            clean_up(target)
            if target != paths:
                swap_in(target, paths)
        return load_manifest(paths)


@contextlib.contextmanager
def _publish_lock(paths: SplitPaths) -> Iterator[None]:
    file = take_lock(paths.metadata / f".{paths.split}.publish-lock")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            Path(file.name).unlink()
        file.close()


def write_manifest(paths: SplitPaths, plan: Plan) -> Manifest:
    """Write index, further files and manifest from the parts of all shards."""
    dtype = index_dtype(plan.fields)
    parts: list[Part] = []
    counts = [_read_part(paths, k, dtype)[0].shard.num_samples for k in range(plan.num_shards)]

    def write_index(file: Any) -> None:
        file.write(npy_header_of(dtype, sum(counts)))
        for shard in range(plan.num_shards):
            part, records = _read_part(paths, shard, dtype)
            parts.append(part)
            file.write(records.tobytes())

    index = write_file(paths.index, write_index)
    skipped = [entry for part in parts for entry in part.skipped]
    manifest = Manifest(
        format=plan.values["format"],
        split=plan.values["split"],
        sample_type=plan.values["sample_type"],
        fields=plan.fields,
        field_files=dict(parts[0].field_files),
        modes=_add_modes(parts),
        shards=tuple(part.shard for part in parts),
        index=index,
        plan=plan.published(),
        skipped=len(skipped),
        ignored=plan.values["ignored"],
        extra=_write_extra(paths, plan, parts, skipped),
    )
    publish_file(paths.manifest, manifest.to_bytes())
    return manifest


def _read_part(paths: SplitPaths, shard: int, dtype: np.dtype[Any]) -> tuple[Part, NDArray[Any]]:
    found = Part.read(paths.part(shard), dtype)
    if found is None:
        raise IncompleteDatasetError(
            f"{paths.part(shard)} does not hold; run the conversion again to write the shard anew"
        )
    return found


def _add_modes(parts: list[Part]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for part in parts:
        for name, modes in part.modes.items():
            total.setdefault(name, Counter()).update(modes)
    return {name: dict(sorted(modes.items())) for name, modes in total.items()}


def _write_extra(
    paths: SplitPaths, plan: Plan, parts: list[Part], skipped: list[dict[str, Any]]
) -> tuple[StoredFile, ...]:
    converter = get_format(plan.values["format"]).load_converter()
    contents: dict[str, bytes] = dict(converter._split_extras(paths.split, [p.shard for p in parts]))
    if skipped:
        lines = [canonical_json(entry).replace("\n", "") + "\n" for entry in skipped]
        contents[paths.skipped.name] = "".join(lines).encode()
    of_split = [publish_file(paths.metadata / name, content) for name, content in sorted(contents.items())]
    return (*of_split, *(file for part in parts for file in part.extra))


def clean_up(paths: SplitPaths) -> None:
    """Remove what only an unfinished conversion needs."""
    for path in sorted(paths.metadata.glob(f".{paths.split}.part-*")):
        path.unlink(missing_ok=True)
    for folder in paths.data.glob(f".{paths.split}-*.tmp"):
        shutil.rmtree(folder, ignore_errors=True)
    for path in paths.metadata.glob(f".{paths.split}.*.tmp"):
        path.unlink(missing_ok=True)
    for path in paths.metadata.glob(f".{paths.split}.rank-*"):
        path.unlink(missing_ok=True)
    listing_path(paths).unlink(missing_ok=True)
    paths.plan.unlink(missing_ok=True)


def swap_in(staging: SplitPaths, paths: SplitPaths) -> None:
    """Replace a split, finished or not, by the published one in `staging`.

    The old manifest goes first and the new one comes last, so no moment shows a
    mixture; killed in between, the next call goes on here.
    """
    kept = _named_files(paths, load_manifest(staging))
    with storage_errors(paths.manifest):
        paths.manifest.unlink(missing_ok=True)
        sync_folder(paths.metadata)
        clean_up(paths)
        for path in _split_files(paths) - kept:
            path.unlink(missing_ok=True)
        new = [p for folder in (staging.data, staging.metadata) for p in sorted(folder.iterdir())]
        new.sort(key=lambda p: p.name == staging.manifest.name)
        for path in new:
            if path.name == staging.manifest.name:
                sync_folder(paths.data)
                sync_folder(paths.metadata)
            path.replace(paths.root / path.relative_to(staging.root))
        sync_folder(paths.metadata)
        shutil.rmtree(staging.root)


def finish_swap(paths: SplitPaths, timeout: float = 0.0) -> None:
    """Go on with a swap that was killed, if there is one: the old split is gone already, the new one is whole.

    Raises
    ------
    LockedError
        If another process is at it for longer than `timeout` seconds.
    """
    staging, start = staging_paths(paths), time.monotonic()
    while staging.manifest.exists() and not paths.manifest.exists():
        try:
            with _publish_lock(paths):
                if staging.manifest.exists():
                    clean_up(staging)
                    swap_in(staging, paths)
        except LockedError:
            waited = time.monotonic() - start
            if waited >= timeout:
                raise
            time.sleep(pause(waited))


def _named_files(paths: SplitPaths, manifest: Manifest) -> set[Path]:
    """Return where the files of a split lie, or will lie: some may have been moved already."""
    shards = {paths.data / file.name for shard in manifest.shards for file in shard.files}
    return {paths.manifest, paths.index, *shards, *(paths.metadata / file.name for file in manifest.extra)}


def _split_files(paths: SplitPaths) -> set[Path]:
    """Return the published files of a split; no other split's name can begin like this."""
    shards = re.compile(rf"{re.escape(paths.split)}-\d{{5,}}-of-\d{{5,}}\..+")
    named = {p for p in paths.data.iterdir() if shards.fullmatch(p.name)}
    prefix = f"{paths.split}."
    return named | {p for p in paths.metadata.iterdir() if p.name.startswith(prefix) or shards.fullmatch(p.name)}


def finalize(dataset_path: str | Path, split: str = "train") -> Manifest:
    """Publish a split whose shards are all written but whose last rank ended before it could.

    Parameters
    ----------
    dataset_path : path
    split : str

    Raises
    ------
    IncompleteDatasetError
        If shards are missing; the message names them.
    """
    paths = SplitPaths(Path(dataset_path).absolute(), split)
    finish_swap(paths)
    if paths.manifest.exists():
        return load_manifest(paths)
    staging = staging_paths(paths)
    target = staging if staging.root.exists() else paths
    plan = Plan.read(target.plan)
    if plan is None:
        return load_manifest(paths)
    missing = _missing_shards(target, plan)
    if missing:
        raise IncompleteDatasetError(_stalled(paths, missing))
    return _publish(paths, target, plan)
