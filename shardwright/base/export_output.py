"""An output that appears under its name when it is complete, and leaves nothing when it fails."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shardwright.base.errors import ConfigError, OutputExistsError, StorageError
from shardwright.base.storage.atomic import storage_errors, sync_file, sync_folder
from shardwright.base.storage.lock import held_lock

__all__ = ["new_output"]

_MEND = "nothing was exported: make room or mend the file system, then export again"
_FEW = 64  # files that are made durable one by one


@contextlib.contextmanager
def new_output(output: Path, input_data: Any) -> Iterator[Path]:
    """Lend a path that becomes `output` at the end of the context.

    Parameters
    ----------
    output : Path
        Absolute; a file or folder that does not exist yet.
    input_data : Any
        If it is a path, it and the output may not lie in one another.

    Raises
    ------
    OutputExistsError
        If `output` exists.
    StorageError
        If the file system fails.
    """
    _check(output, input_data)
    temporary = output.with_name(f".{output.name}.tmp")
    with storage_errors(output, _MEND):
        output.parent.mkdir(parents=True, exist_ok=True)
        with held_lock(output.with_name(f".{output.name}.lock")):
            _remove(temporary)  # what a killed export left
            try:
                yield temporary
                _make_durable(temporary)
                _check(output, input_data)  # somebody else may have made it meanwhile
                temporary.rename(output)
                sync_folder(output.parent)
            finally:
                _remove(temporary)


def _check(output: Path, input_data: Any) -> None:
    if os.path.lexists(output):
        raise OutputExistsError(f"{output} exists; choose another name, or delete it yourself")
    if len(output.name.encode(errors="surrogateescape")) > 200:
        raise ConfigError(f"the name of the output is too long: {output.name[:80]}...")
    if isinstance(input_data, (str, os.PathLike)) and output.is_relative_to(Path(input_data).absolute()):
        raise ConfigError(f"the output {output} lies in the input; choose a folder beside it")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _make_durable(path: Path) -> None:
    """See that the content is on disk before the name is: one by one, or everything if there are many files."""
    files = [path] if path.is_file() else [Path(root, name) for root, _, names in os.walk(path) for name in names]
    if not files:
        raise StorageError(f"{path} is empty: there is nothing to export")
    if len(files) > _FEW and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        sync_file(file)
