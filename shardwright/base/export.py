"""The table of what a split can be exported to, and the one function that does it.

A target is one function that gets the samples and the path to write: a file or
a folder that does not exist yet, under a temporary name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from shardwright.base.errors import ConfigError

__all__ = ["TARGETS", "Target", "export", "target_names"]


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of output.

    Parameters
    ----------
    function : str
        ``"module:function"``.
    summary : str
        One line for the help.
    """

    function: str
    summary: str


# By what users type.
TARGETS = {
    "folder": Target(
        "shardwright.folders.export:export_folder",
        "a folder per class with the image files, as torchvision's ImageFolder and Keras read them",
    ),
    "npz": Target("shardwright.arrays.export:export_npz", "one .npz file with x and y arrays, for images of one size"),
    "tfrecord": Target("shardwright.tfrecord.export:export_tfrecord", "TFRecord files of tf.train.Example"),
    "webdataset": Target("shardwright.tar.export:export_webdataset", "tar files, which webdataset streams"),
}


def target_names() -> list[str]:
    """Return the names of all targets, sorted."""
    return sorted(TARGETS)


def export(
    input_data: Any,
    output: str | Path,
    to: str,
    *,
    split: str = "train",
    columns: Sequence[str] | None = None,
    images_per_file: int = 1000,
    data_path: str | Path | None = None,
    progress: bool | None = False,
) -> Path:
    """Write a split as the files of another tool.

    The output appears under its name when it is complete, and not before.

    Parameters
    ----------
    input_data : path, reader or any other input of a converter
    output : path
        A folder, or for ``"npz"`` a file, that does not exist yet.
    to : str
        What to write: one of `target_names`.
    split : str
        Which split of a converted dataset; also in the names of the files.
    columns : sequence of str, optional
        Export these fields only.
    images_per_file : int
        Samples per file, of targets with several files.
    data_path : path, optional
        The folder of the shard files of a converted dataset, if they lie elsewhere.
    progress : bool, optional
        Progress bar; ``None``: only on a terminal.

    Returns
    -------
    Path
        The output.

    Raises
    ------
    OutputExistsError
        If the output exists.
    InputError, ConfigError
        If the target cannot hold the samples; nothing is left then.

    Examples
    --------
    >>> export("out", "images", "folder")  # doctest: +SKIP
    """
    from shardwright.base.export_output import new_output
    from shardwright.base.export_samples import Samples

    if to not in TARGETS:
        raise ConfigError(f"to={to!r} is unknown; choose one of {', '.join(target_names())}")
    function = resolve_name(TARGETS[to].function)
    samples = Samples(input_data, split, columns, data_path, images_per_file, progress)
    with new_output(Path(output).expanduser().absolute(), input_data) as path:
        function(samples, path)
    return Path(output)
