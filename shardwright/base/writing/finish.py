"""The last step of a conversion: index and manifest, once all shards are there."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import IncompleteDatasetError, LockedError, PlanMismatchError
from shardwright.base.formats import get_format
from shardwright.base.split.index import index_dtype
from shardwright.base.split.manifest import Manifest, load_manifest
from shardwright.base.split.part import Part
from shardwright.base.split.paths import SplitPaths
from shardwright.base.split.publish import publish
from shardwright.base.split.split import check_split_files
from shardwright.base.storage.file_lock import held_lock
from shardwright.base.writing.class_choice import check_shared_classes
from shardwright.base.writing.plan import Plan, differences, pause, told
from shardwright.base.writing.replace import clean_up, finish_swap, swap_in

__all__ = [
    "begun_by",
    "finalize",
    "finished",
    "publish_when_complete",
]


def finished(paths: SplitPaths, plan: Plan, moving: bool = False) -> bool:
    """Whether the split is published already, by the same plan.

    With `moving` its files may be on their way to another folder, and are not looked at.
    """
    if not paths.manifest.exists():
        return False
    manifest = load_manifest(paths)
    lines = differences(plan.published(), manifest.plan)
    if lines:
        raise PlanMismatchError(
            f"{paths.root}: split {paths.split!r} is there already, made otherwise: {told(lines)}. "
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


def publish_when_complete(
    paths: SplitPaths, target: SplitPaths, plan: Plan, world: int, wait: bool, timeout: float
) -> Manifest | None:
    """Publish the split if all shards are there; else wait for the rank that will.

    Whoever sees the last shard publishes. No collective is held meanwhile.
    """
    ranks = [target.rank(rank) for rank in range(world)]
    since, last = time.monotonic(), (-1, -1)
    while True:
        if _swapped(paths, target):
            return load_manifest(paths)
        missing = _missing_shards(target, plan)
        absent = [] if missing or target == paths or world == 1 else _missing(target, ranks)
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
    """Return the shards without a part."""
    return _missing(paths, [paths.part(shard) for shard in range(plan.num_shards)])


def _missing(paths: SplitPaths, wanted: Sequence[Path]) -> list[int]:
    """Return which files are not there; none once the manifest is. Listing makes an NFS client look anew."""
    try:
        names = set(os.listdir(paths.metadata))
    except FileNotFoundError:  # swapped in just now, by another rank
        return []
    if paths.manifest.name in names:
        return []
    return [number for number, path in enumerate(wanted) if path.name not in names]


def _shown(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")


def _stalled(paths: SplitPaths, missing: list[int], waited: float | None = None) -> str:
    since = "" if waited is None else f", and none was added in {waited:.0f} s: have other ranks ended?"
    return (
        f"{paths.root}: split {paths.split!r} lacks {len(missing)} shards: {_shown(missing)}{since}; "
        "run the conversion again (any number of ranks) to write them"
    )


def _publish(paths: SplitPaths, target: SplitPaths, plan: Plan) -> Manifest:
    with held_lock(paths.publish_lock):
        if not _swapped(paths, target):
            if not target.manifest.exists():
                if "classes" not in plan.options:
                    check_shared_classes(paths, plan.fields)
                _make_split(target, plan)
            clean_up(target)
            if target != paths:
                swap_in(target, paths)
        return load_manifest(paths)


def _make_split(paths: SplitPaths, plan: Plan) -> None:
    """Publish the split from the parts of all shards."""
    dtype = index_dtype(plan.fields)
    parts = [_read_part(paths, shard, dtype)[0] for shard in range(plan.num_shards)]
    converter = get_format(plan.format).load_converter()
    publish(
        paths,
        parts,
        # Read a second time: the records of all shards would take much memory.
        (_read_part(paths, shard, dtype)[1] for shard in range(plan.num_shards)),
        format_name=plan.format,
        fields=plan.fields,
        sample_type=plan.sample_type,
        plan=plan.published(),
        ignored=plan.ignored,
        contents=converter._split_extras(paths.split, [part.shard for part in parts]),
    )


def _read_part(paths: SplitPaths, shard: int, dtype: np.dtype[Any]) -> tuple[Part, NDArray[Any]]:
    found = Part.read(paths.part(shard), dtype)
    if found is None:
        raise IncompleteDatasetError(
            f"{paths.part(shard)} does not hold; run the conversion again to write the shard anew"
        )
    return found


def finalize(dataset_path: str | Path, split: str = "train") -> Manifest:
    """Publish a split whose shards are all written but whose last rank ended before it could."""
    paths = SplitPaths(Path(dataset_path).expanduser().absolute(), split)
    finish_swap(paths)
    staging = paths.staging
    target = staging if staging.root.exists() else paths
    plan = Plan.read(target.plan)
    if plan is None:
        return load_manifest(paths)
    missing = _missing_shards(target, plan)
    if missing:
        raise IncompleteDatasetError(_stalled(paths, missing))
    return _publish(paths, target, plan)
