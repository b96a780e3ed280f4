"""Paths that are no folder of images: which source reads them."""

import os

from datasets.sources.source import Source

__all__ = ["source_of_path"]


def source_of_path(path: str) -> Source | None:
    """Return the source of an array file, a TFRecord file or a folder of either; ``None`` for any other path.

    Raises
    ------
    InputError, ConfigError
        If it is one, and something about it is wrong or has to be said.
    """
    from datasets.sources import arrays, tfrecord_files

    if os.path.isdir(path):
        names = _file_names(path)
        images = arrays.mnist_images(path, names)
        if images is not None:
            return arrays.ArraySource(images)
        if not any(map(tfrecord_files.is_record_name, names)):
            return None
    elif not os.path.isfile(path):
        return None
    elif not tfrecord_files.is_record_name(path):
        return arrays.ArraySource(path) if arrays.is_array_file(path) else None
    from datasets.sources.tfrecord import TFRecordSource

    return TFRecordSource(path)


def _file_names(folder: str) -> list[str]:
    """Return the names of the files in a folder without sub-folders; none of any other folder."""
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    return []
                names.append(entry.name)
    except OSError:  # told by the source that reads folders
        return []
    return sorted(names)
