"""`overwrite`: replace a split by one that was written aside; and remove what only an unfinished conversion needs."""

import shutil
import time
from pathlib import Path

from shardwright.base.errors import LockedError
from shardwright.base.split.manifest import Manifest, load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import storage_errors, sync_folder
from shardwright.base.storage.file_lock import held_lock
from shardwright.base.writing.plan import pause

__all__ = ["clean_up", "finish_swap", "swap_in"]


def clean_up(paths: SplitPaths) -> None:
    """Remove what only an unfinished conversion needs."""
    for folder in paths.work_folders():
        shutil.rmtree(folder, ignore_errors=True)
    for path in paths.leftovers():
        path.unlink(missing_ok=True)


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
        for path in paths.published_files() - kept:
            path.unlink(missing_ok=True)
        new = [p for folder in (staging.data, staging.metadata) for p in sorted(folder.iterdir())]
        new.remove(staging.manifest)
        for path in new:
            path.replace(paths.root / path.relative_to(staging.root))
        sync_folder(paths.data)
        sync_folder(paths.metadata)
        staging.manifest.replace(paths.manifest)
        sync_folder(paths.metadata)
        shutil.rmtree(staging.root)


def finish_swap(paths: SplitPaths, timeout: float = 0.0) -> None:
    """Go on with a swap that was killed, if there is one: the old split is gone already, the new one is whole."""
    staging, start = paths.staging, time.monotonic()
    while staging.manifest.exists() and not paths.manifest.exists():
        try:
            with held_lock(paths.publish_lock):
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
    metadata = {paths.metadata / file.name for file in manifest.metadata_files}
    return {paths.manifest, *metadata, *(paths.data / file.name for file in manifest.shard_files)}
