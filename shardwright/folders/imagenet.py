"""ImageNet's development kit: the classes of the validation images, which lie in one folder.

``ILSVRC2012_img_val.tar`` holds 50,000 images without class folders. Which class an image is of
says the development kit: a number per image in the ground-truth file, and what the
numbers mean in ``meta.mat``. Both are read where they are; nothing is unpacked.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from shardwright.base.errors import ConfigError, InputError, LimitError

__all__ = ["validation_classes"]

TABLE = "meta.mat"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
MAX_BYTES = 64 * 2**20  # both files together have 0.2 MB


def validation_classes(devkit: str | os.PathLike[str]) -> dict[str, str]:
    """Return the class (WordNet id, ``n01440764``) of each validation image by its file name."""
    table, truth = _read_devkit(Path(devkit).expanduser(), (TABLE, GROUND_TRUTH))
    names = _class_table(table, devkit)
    classes = {}
    for number, line in enumerate(truth.decode("ascii", "replace").split(), 1):
        if not (line.isdigit() and int(line) in names):
            raise InputError(f"{devkit}: {GROUND_TRUTH}, line {number}: class {line!r} is not in {TABLE}")
        classes[f"ILSVRC2012_val_{number:08d}.JPEG"] = names[int(line)]
    return classes


def _class_table(content: bytes, devkit: object) -> dict[int, str]:
    """Return the WordNet id of each class number; inner nodes of the tree are no classes."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ConfigError(f"{TABLE} is read with scipy: pip install 'shardwright[imagenet]'") from error
    try:
        synsets: Any = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
        return {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets if int(s["num_children"]) == 0}
    except (ValueError, TypeError, KeyError, IndexError, NotImplementedError) as error:
        raise InputError(f"{devkit}: {TABLE} is not the class table of ImageNet ({error})") from error


def _read_devkit(devkit: Path, names: tuple[str, ...]) -> list[bytes]:
    """Return the content of some files, in the order of their names."""
    try:
        found = {name: _limited(file, name) for name, file in _opened(devkit, names)}
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{devkit} is not ImageNet's development kit ({error}); give the .tar.gz") from error
    except OSError as error:
        raise InputError(f"{devkit} cannot be read: {error.strerror or error}; check the path") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{devkit} holds no {' and no '.join(missing)}; give ILSVRC2012_devkit_t12.tar.gz")
    return [found[name] for name in names]


def _opened(devkit: Path, names: tuple[str, ...]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name of each of the files, wherever it lies in a folder or a tar, and the file."""
    if devkit.is_dir():
        for path in sorted(devkit.rglob("*")):
            if path.name in names and path.is_file():
                with path.open("rb") as file:
                    yield path.name, file
        return
    with tarfile.open(devkit) as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            content = archive.extractfile(member) if member.isfile() and name in names else None
            if content is not None:
                yield name, content


def _limited(file: IO[bytes], name: str) -> bytes:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise LimitError(f"{name} has more than {MAX_BYTES:,} bytes; ImageNet's has a few thousand")
    return content
