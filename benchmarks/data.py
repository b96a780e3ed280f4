"""The storage settings that are measured, made once from a folder of JPEGs.

====================  ====================================================================
``folders/original``  the JPEGs as they are
``folders/more``      the same, more of them, for conversion to pixels
``folders/many``      the same, still more of them, for conversion that keeps their bytes
``folders/full``      full size, encoded anew at quality 90
``folders/jpeg256``   longer side at most 256, encoded anew at quality 90
``raw224.npy``        pixels, each image resized to 224x224
``raw256.npy``        pixels, each image resized to 256x256
====================  ====================================================================

Images are repeated to the number that is asked for, as hard links in folders.
"""

import io
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from shardwright.base.images import decode, resize

__all__ = ["Sizes", "generate_jpegs", "make_settings", "usable"]

QUALITY = 90


@dataclass(frozen=True)
class Sizes:
    """Numbers of images per setting."""

    jpegs: int = 384
    many: int = 4096
    raw224: int = 2048
    raw256: int = 512
    more: int = 1024


def make_settings(source: Path, root: Path, sizes: Sizes) -> bool:
    """Make all settings, unless they are there already.

    Parameters
    ----------
    source : Path
        Class folders of JPEGs.
    root : Path
        Where the settings go.
    sizes : Sizes

    Returns
    -------
    bool
        Whether they were made.
    """
    done = root / "made"
    if done.exists() and done.read_text() == repr((str(source), sizes)):
        return False
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)
    files = usable(source)
    for setting in ("original", "more", "many", "full", "jpeg256"):
        count = {"more": sizes.more, "many": sizes.many}.get(setting, sizes.jpegs)
        _make_folder(files, root / "folders" / setting, count, setting)
    for setting, side, count in (("raw224", 224, sizes.raw224), ("raw256", 256, sizes.raw256)):
        _make_array(files, root, setting, side, count)
    done.write_text(repr((str(source), sizes)))
    return True


def usable(source: Path) -> list[Path]:
    """Return the JPEGs below `source` that every library can decode, in sorted order.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    files = [f for f in sorted(source.glob("*/*")) if f.suffix.lower() in (".jpg", ".jpeg") and _is_rgb(f)]
    if not files:
        raise FileNotFoundError(f"{source} has no RGB JPEGs in class folders: give another folder with --input")
    return files


def _is_rgb(path: Path) -> bool:
    with Image.open(path) as image:
        return image.mode == "RGB" and image.format == "JPEG"


def _make_folder(files: list[Path], folder: Path, count: int, setting: str) -> None:
    for number, path in enumerate(itertools.islice(itertools.cycle(files), count)):
        target = folder / path.parent.name / f"{number:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if number < len(files):
            target.write_bytes(_encoded(path, setting))
        else:
            first = number % len(files)
            os.link(folder / path.parent.name / f"{first:06d}.jpg", target)


def _encoded(path: Path, setting: str) -> bytes:
    data = path.read_bytes()
    if setting in ("original", "more", "many"):
        return data
    pixels = decode(data, "RGB")
    if setting == "jpeg256":
        height, width = pixels.shape[:2]
        scale = min(1.0, 256 / max(height, width))
        pixels = resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def _make_array(files: list[Path], root: Path, setting: str, side: int, count: int) -> None:
    classes = sorted({f.parent.name for f in files})
    shape = (count, side, side, 3)
    array = np.lib.format.open_memmap(root / f"{setting}.npy", "w+", np.uint8, shape)
    for number, pixels in enumerate(_pixels(files[:count], side)):
        array[number :: len(files)] = pixels
    array.flush()
    labels = [classes.index(f.parent.name) for f in itertools.islice(itertools.cycle(files), count)]
    np.save(root / f"{setting}.labels.npy", np.array(labels, np.int64))


def _pixels(files: list[Path], side: int) -> Iterator[np.ndarray]:
    return (resize(decode(f.read_bytes(), "RGB"), (side, side)) for f in files)


def generate_jpegs(folder: Path, count: int = 12) -> Path:
    """Write some JPEGs of smooth random pixels in class folders, where no real images are at hand."""
    generator = np.random.default_rng(0)
    for number in range(count):
        small = generator.integers(0, 256, (6, 8, 3), np.uint8)
        target = folder / f"class{number % 3}" / f"{number:03d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((400 + number, 300)).save(target, "JPEG", quality=92)
    return folder
