"""The folder that a conversion writes: whether it may, and its folders."""

import contextlib
import os
from pathlib import Path
from typing import Any

from shardwright.base.errors import ConfigError, OutputExistsError
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import sync_folder

__all__ = ["check_output", "make_folders"]


def check_output(output: Path, input_data: Any) -> None:
    """Raise unless `output` may become, or is, a folder of converted splits."""
    long = [part for part in output.parts if len(part.encode(errors="surrogateescape")) > 200]
    if long or len(str(output).encode(errors="surrogateescape")) > 3800:
        raise ConfigError(f"output_path is too long for file names inside of it: {str(output)[:80]}...")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"output_path {output} is a file; give a folder")
    if isinstance(input_data, (str, os.PathLike)):
        source, real = Path(input_data).expanduser().resolve(), output.resolve()
        if source == real or source in real.parents or real in source.parents:
            raise ConfigError(f"output_path {output} and input_data {source} lie in one another; choose another output")
    if output.is_dir() and any(output.iterdir()) and not (output / "metadata").is_dir():
        raise OutputExistsError(
            f"output_path {output} holds other files; choose an empty or new folder, or delete them yourself"
        )


def make_folders(paths: SplitPaths) -> None:
    """Make the folders of a split, and make them durable."""
    for folder in (paths.metadata, paths.data):
        missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            with contextlib.suppress(PermissionError):  # what may not be listed cannot be opened
                sync_folder(path.parent)
