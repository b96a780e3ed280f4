"""Images with masks: two parallel folders, as in CamVid and many others.

The files are stored as they are, so a mask keeps every id, and its palette.
"""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from shardwright.base.arguments import check_choice
from shardwright.base.errors import InputError
from shardwright.base.fields import Field
from shardwright.base.storage.names import printable
from shardwright.folders.files import PathSource, list_of, pack_files
from shardwright.folders.paired import PairedFilesSource
from shardwright.folders.source import root_of, walk

__all__ = ["ParallelFoldersSource"]

_SHOWN = 5  # names in a message


def _find(root: bytes, suffix: bytes, ignored: Counter[str]) -> dict[bytes, tuple[bytes, int, int]]:
    """Return the images below a folder by what is to match: the path without extension and `suffix`.

    Each is its path below the folder, its size, and when it was changed, in ns.
    """
    found: dict[bytes, tuple[bytes, int, int]] = {}
    for part in walk(root, ignored):
        for path, size, mtime in zip(part.paths(), part.sizes.tolist(), part.mtimes.tolist(), strict=True):
            stem = os.path.splitext(path)[0]
            if not stem.endswith(suffix):
                ignored[f"name does not end in {printable(suffix)}"] += 1
                continue
            key = stem.removesuffix(suffix)
            if key in found:
                raise InputError(
                    f"{printable(root)}: {printable(found[key][0])} and {printable(path)} differ only in "
                    "their extension, so what belongs to them is not clear; move one of them away"
                )
            found[key] = path, size, mtime
    return found


def _unpaired(root: bytes, alone: set[bytes], what: str, other: str, ignored: Counter[str]) -> list[str]:
    """Count the images without a mask, or the masks without an image, and say which they are, if there are any."""
    if not alone:
        return []
    ignored[f"{what} without {other}"] = len(alone)
    shown = ", ".join(map(printable, sorted(alone)[:_SHOWN])) + (", ..." if len(alone) > _SHOWN else "")
    return [f"{printable(root)} has {len(alone)} {what}s without {other}: {shown}"]


def _not_paired(problems: list[str], some: bool) -> InputError:
    mend = "add what is missing, move it away, or pass unpaired='skip'" if some else "no image has a mask"
    return InputError(
        f"{'; '.join(problems)}; {mend}. Names are compared without extension; if they end differently, as 0001 and "
        "0001_mask do, say so with image_suffix= or mask_suffix="
    )


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
    >>> from shardwright.parquet.converter import ParquetConverter
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
        image_root, mask_root = map(root_of, (images, masks))
        ignored: Counter[str] = Counter()
        found = _find(image_root, os.fsencode(image_suffix), ignored)
        found_masks = _find(mask_root, os.fsencode(mask_suffix), ignored)
        pairs = sorted(found.keys() & found_masks.keys())
        problems = [
            *_unpaired(image_root, found.keys() - found_masks.keys(), "image", "a mask", ignored),
            *_unpaired(mask_root, found_masks.keys() - found.keys(), "mask", "an image", ignored),
        ]
        if not pairs or (problems and unpaired == "raise"):
            shown = f"{printable(image_root)} and {printable(mask_root)}"
            raise _not_paired(problems or [f"{shown} hold no images"], bool(pairs))
        mask = Field("mask", "mask", names=None if classes is None else tuple(classes))
        columns = [
            (Field("image", "image"), PathSource(image_root, list_of(*pack_files(found[key] for key in pairs)))),
            (mask, PathSource(mask_root, list_of(*pack_files(found_masks[key] for key in pairs)))),
        ]
        super().__init__(columns, {})
        self.ignored = dict(sorted(ignored.items()))
