"""What a published split is, as those see it who only read: its manifest, and the files that it names."""

from pathlib import Path

from shardwright.base.errors import CorruptShardError, IncompleteDatasetError
from shardwright.base.split.index import check_file, check_size
from shardwright.base.split.manifest import SPLIT_NAME, Manifest
from shardwright.base.split.paths import SplitPaths

__all__ = ["check_split_files", "load_manifest", "split_names"]


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


def split_names(dataset_path: str | Path) -> list[str]:
    """Return the names of the published splits of a folder, sorted."""
    stems = (p.stem for p in (Path(dataset_path) / "metadata").glob("*.json"))
    return sorted(stem for stem in stems if SPLIT_NAME.fullmatch(stem))


def check_split_files(paths: SplitPaths, manifest: Manifest) -> None:
    """Raise unless the index holds and all shards have their sizes."""
    check_file(paths.index, manifest.index)
    for shard in manifest.shards:
        for file in shard.files:
            check_size(paths.data / file.name, file)
