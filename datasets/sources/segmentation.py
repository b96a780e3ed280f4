"""Images with masks: two parallel folders, as in CamVid and many others.

The files are stored as they are, so a mask keeps every id, and its palette.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasets.base.errors import InputError
from datasets.base.fields import Field
from datasets.base.options import check_choice
from datasets.sources.files import PackedNames, PathSource, printable
from datasets.sources.folder import _check_root, _walk
from datasets.sources.paired_files import PairedFilesSource

__all__ = ["CAMVID_CLASSES", "CamVidSource", "FileStatus", "ParallelFoldersSource", "source_of"]

CAMVID_CLASSES = tuple(
    "sky building pole road pavement tree sign_symbol fence car pedestrian bicyclist unlabelled".split()
)
_SHOWN = 5  # names in a message


@dataclass(frozen=True, slots=True)
class FileStatus:
    """A file below a folder: its path there, its size in bytes, and when it was changed, in ns."""

    path: bytes
    size: int
    mtime: int


def _find(root: bytes, suffix: bytes, ignored: Counter[str]) -> dict[bytes, FileStatus]:
    """Return the images below a folder by what is to match: the path without extension and `suffix`."""
    _check_root(root)
    found: dict[bytes, FileStatus] = {}
    for part in _walk(root, ignored):
        for path, size, mtime in zip(part.paths(), part.sizes, part.mtimes, strict=True):
            stem = os.path.splitext(path)[0]
            if suffix and not stem.endswith(suffix):
                ignored[f"name does not end in {printable(suffix)}"] += 1
                continue
            key = stem[: len(stem) - len(suffix)]
            if key in found:
                raise InputError(
                    f"{printable(root)}: {printable(found[key].path)} and {printable(path)} differ only in "
                    "their extension, so what belongs to them is not clear; move one of them away"
                )
            found[key] = FileStatus(path, size, mtime)
    return found


def source_of(root: bytes, files: Iterable[FileStatus]) -> PathSource:
    """Return the source that reads these files below `root`, in this order."""
    files = list(files)
    sizes, mtimes = (np.array([getattr(f, name) for f in files], np.int64) for name in ("size", "mtime"))
    return PathSource(root, PackedNames(f.path for f in files), sizes, mtimes)


def _unpaired(root: bytes, alone: Sequence[bytes], what: str, other: str) -> str:
    shown = ", ".join(map(printable, alone[:_SHOWN])) + (", ..." if len(alone) > _SHOWN else "")
    return f"{printable(root)} has {len(alone)} {what} without {other}: {shown}"


class ParallelFoldersSource(PairedFilesSource):
    """Images in one folder and their masks in another, matched by name without extension.

    Files in nested folders match if they lie at the same place in both.

    Parameters
    ----------
    images, masks : str or path-like
        The folders.
    image_suffix, mask_suffix : str
        What the names have before the extension that the other's names do not,
        for example ``mask_suffix="_L"`` for ``0001.png`` and ``0001_L.png``.
        Files without it are left out.
    unpaired : {"raise", "skip"}
        What to do about an image without a mask or a mask without an image;
        ``"skip"`` counts them in the manifest.
    classes : sequence of str, optional
        The names of the masks' ids 0, 1, ...

    Raises
    ------
    InputError
        If an image or mask has no partner, or none has one, or a file cannot be read.

    Examples
    --------
    >>> from datasets.parquet.parquet_converter import ParquetConverter
    >>> source = ParallelFoldersSource("images", "masks")  # doctest: +SKIP
    >>> ParquetConverter(source, "shards").convert()  # doctest: +SKIP
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        image_suffix: str = "",
        mask_suffix: str = "",
        unpaired: Literal["raise", "skip"] = "raise",
        classes: Sequence[str] | None = None,
    ) -> None:
        check_choice("unpaired", unpaired, ("raise", "skip"))
        roots = [os.path.abspath(os.path.expanduser(os.fsencode(folder))) for folder in (images, masks)]
        ignored: Counter[str] = Counter()
        found = [
            _find(root, os.fsencode(suffix), ignored)
            for root, suffix in zip(roots, (image_suffix, mask_suffix), strict=True)
        ]
        pairs = sorted(found[0].keys() & found[1].keys())
        alone = [sorted(files.keys() - set(pairs)) for files in found]
        self._check_pairs(roots, pairs, alone, unpaired)
        for left, what in zip(alone, ("image without a mask", "mask without an image"), strict=True):
            if left:
                ignored[what] = len(left)
        columns = {
            name: source_of(root, (files[key] for key in pairs))
            for name, root, files in zip(("image", "mask"), roots, found, strict=True)
        }
        names = None if classes is None else tuple(classes)
        super().__init__(columns, [Field("image", "image"), Field("mask", "mask", names=names)], {})
        self.ignored = dict(sorted(ignored.items()))

    @staticmethod
    def _check_pairs(roots: list[bytes], pairs: list[bytes], alone: list[list[bytes]], unpaired: str) -> None:
        problems = [
            _unpaired(roots[i], alone[i], what, other)
            for i, what, other in ((0, "images", "a mask"), (1, "masks", "an image"))
            if alone[i]
        ]
        if pairs and (unpaired == "skip" or not problems):
            return
        mend = "add what is missing, move it away, or pass unpaired='skip'" if pairs else "no image has a mask"
        reasons = "; ".join(problems) or f"{printable(roots[0])} and {printable(roots[1])} hold no images"
        raise InputError(
            f"{reasons}; {mend}. Names are compared without extension; if they end differently, as 0001 and "
            "0001_mask do, say so with image_suffix= or mask_suffix="
        )


class CamVidSource(ParallelFoldersSource):
    """CamVid as the SegNet tutorial lays it out: ``train/`` and ``trainannot/``, ``val/``, ``test/``.

    Parameters
    ----------
    root : str or path-like
        The folder of these.
    split : {"train", "val", "test"}

    Raises
    ------
    InputError
        As `ParallelFoldersSource`.
    """

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        folder = os.path.join(os.fspath(root), split)
        super().__init__(folder, f"{folder}annot", classes=CAMVID_CLASSES)
