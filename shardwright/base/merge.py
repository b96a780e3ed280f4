"""Join converted splits on disk: their shard files get a second name, and no byte of them is copied."""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from shardwright.base.arguments import check_split
from shardwright.base.errors import ConfigError, StorageError
from shardwright.base.formats import get_format
from shardwright.base.reader import Reader
from shardwright.base.split.manifest import Manifest, Shard
from shardwright.base.split.part import Part
from shardwright.base.split.paths import SplitPaths
from shardwright.base.split.publish import add_counts, add_modes, check_new, publish
from shardwright.base.storage.atomic import (
    StoredFile,
    storage_errors,
    sync_folder,
    write_file,
)
from shardwright.base.writing.class_choice import check_shared_classes
from shardwright.base.writing.lock import split_lock

__all__ = ["merge"]

# What a file system says that cannot give this file a second name.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def merge(readers: Sequence[Reader], output_path: str | Path, *, split: str = "train", copy: bool = False) -> Manifest:
    """Make one split of several, without copying or changing their shards.

    The shards become hard links to those of the splits, under the names of the
    new one; index and manifest are written anew. The old splits stay; either
    may be deleted without harm to the other. A merge that was killed is simply
    made again.

    Parameters
    ----------
    readers : sequence of Reader
        Of one format, and with the same fields. In tar files the numbers in
        the samples' names begin anew with every split.
    output_path : path
        Folder of the new split; it may be that of the old ones.
    split : str
        Name of the new split.
    copy : bool
        Copy shards that cannot be linked, as on another disk, instead of raising.

    Returns
    -------
    Manifest
        Of the new split.

    Raises
    ------
    ConfigError
        If the splits cannot be one: other formats, fields or kinds of sample.
    OutputExistsError
        If the new split is there already.
    StorageError
        If a shard cannot be linked and `copy` is false.

    Examples
    --------
    >>> merge([ParquetReader("a"), ParquetReader("b")], "both")  # doctest: +SKIP
    """
    readers = list(readers)
    paths = SplitPaths(Path(output_path).expanduser().absolute(), check_split(split))
    _check_alike(readers)
    check_shared_classes(paths, readers[0].fields)
    with split_lock(paths, 0, 1):
        check_new(paths, "choose another split= or output_path=")
        shards = _link_shards(readers, paths, copy)
        return _publish(readers, paths, shards)


def _check_alike(readers: list[Reader]) -> None:
    if not readers:
        raise ConfigError("there is no split to merge; give at least one reader")
    first = readers[0]
    for reader in readers:
        if not isinstance(reader, Reader):
            raise ConfigError(
                f"a {type(reader).__name__} is not a whole split on disk; give readers, or give the chosen samples "
                "to a converter"
            )
        if reader.manifest.is_adopted:
            raise ConfigError(
                f"{reader.dataset_path} (split {reader.split!r}) only indexes files that were there before; convert "
                "it, or join the readers with concat"
            )
        for name in ("format", "sample_type", "fields", "field_files"):
            ours, theirs = getattr(first.manifest, name), getattr(reader.manifest, name)
            if ours != theirs:
                raise ConfigError(
                    f"{first.dataset_path} (split {first.split!r}) and {reader.dataset_path} (split {reader.split!r}) "
                    f"cannot be one split: {name} is {ours} and {theirs}; convert one of them anew"
                )


def _link_shards(readers: list[Reader], paths: SplitPaths, copy: bool) -> list[Shard]:
    """Give all shard files their names in the new split."""
    old = [(reader, shard) for reader in readers for shard in reader.manifest.shards]
    shards = []
    for number, (reader, shard) in enumerate(old):
        name = paths.shard_name(number, len(old))
        # train-00000-of-00010.image.npy: what follows the name of a shard tells the file
        files = tuple(StoredFile(f"{name}.{file.name.partition('.')[2]}", file.size, file.xxh3) for file in shard.files)
        for new, file in zip(files, shard.files, strict=True):
            _link(reader.data_path / file.name, paths.data / new.name, copy)
        shards.append(Shard(shard.num_samples, files))
    with storage_errors(paths.data):
        sync_folder(paths.data)
    return shards


def _link(old: Path, new: Path, copy: bool) -> None:
    with storage_errors(new):
        new.unlink(missing_ok=True)  # left by a merge that was killed
        try:
            os.link(old, new)
            return
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            reason = error.strerror
    if not copy:
        raise StorageError(
            f"{old} cannot get the second name {new} ({reason}); choose an output_path= on the same disk, "
            "or pass copy=True"
        )
    with storage_errors(new), old.open("rb") as file:
        write_file(new, lambda copied: shutil.copyfileobj(file, copied))


def _publish(readers: list[Reader], paths: SplitPaths, shards: list[Shard]) -> Manifest:
    manifests: list[Manifest] = [reader.manifest for reader in readers]
    first = manifests[0]
    merged = [{"index_xxh3": m.index.xxh3, "num_samples": m.num_samples} for m in manifests]
    return publish(
        paths,
        [Part(shard, first.field_files, modes={}, skipped=[]) for shard in shards],
        (reader.stored.records for reader in readers),
        format_name=first.format,
        fields=first.fields,
        sample_type=first.sample_type,
        plan={"format": first.format, "merged": merged, "num_samples": sum(m.num_samples for m in manifests)}
        | _origin(manifests),
        modes=add_modes(m.modes for m in manifests),
        skipped=sum(m.skipped for m in manifests),
        ignored=add_counts(m.ignored for m in manifests),
        contents=_extra(paths, first, shards),
    )


def _origin(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Return where the labels came from, all that is said of it."""
    origins = dict.fromkeys(str(m.plan["labels_from"]) for m in manifests if "labels_from" in m.plan)
    return {"labels_from": ", ".join(origins)} if origins else {}


def _extra(paths: SplitPaths, manifest: Manifest, shards: list[Shard]) -> dict[str, bytes]:
    """Return the files for other tools, made anew, since they name the shards."""
    record = get_format(manifest.format)
    converter = record.load_converter()
    contents: dict[str, bytes] = dict(converter._split_extras(paths.split, shards))
    for shard in shards:
        name = f"{shard.files[0].name.partition('.')[0]}{record.suffix}"
        contents |= converter._shard_extras(paths.data / name, manifest.fields)
    return contents
