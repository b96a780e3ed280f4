"""Which source reads a path."""

import os
from collections.abc import Callable
from pathlib import Path

from shardwright.base.source import Source

__all__ = ["source_of_path"]


def source_of_path(path: str) -> tuple[Callable[[str], Source], str]:
    """Return the class of source that reads a path, and what to give it; nothing is opened yet.

    Raises
    ------
    InputError, ConfigError
        If something about an array file or TFRecord file is wrong or has to be said.
    """
    if any(not manifest.name.startswith(".") for manifest in Path(path).glob("metadata/*.json")):
        from shardwright.base.view_source import SplitSource  # with torch, which is slow to import

        return SplitSource, path
    from shardwright.arrays import source as arrays  # readers need none of them
    from shardwright.folders import source as folder  # readers need none of them
    from shardwright.tar import source as archive  # readers need none of them
    from shardwright.tfrecord import files as tfrecord_files  # readers need none of them
    from shardwright.tfrecord import source as tfrecord  # readers need none of them

    if archive.is_archive(path):
        return archive.ArchiveSource, path
    names = _file_names(path) if os.path.isdir(path) else []
    images = arrays.mnist_images(path, names)
    if images is not None:
        return arrays.ArraySource, images
    is_file = os.path.isfile(path)
    if any(map(tfrecord_files.is_record_name, [path] if is_file else names)):
        return tfrecord.TFRecordSource, path
    return (arrays.ArraySource if is_file and arrays.is_array_file(path) else folder.FolderSource), path


def _file_names(folder: str) -> list[str]:
    """Return the names of the files in a folder without sub-folders; none of any other folder."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
            return [] if any(entry.is_dir() for entry in entries) else sorted(entry.name for entry in entries)
    except OSError:  # told by the source that reads folders
        return []
