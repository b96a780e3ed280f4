"""YOLO's folders: ``images/`` and ``labels/`` with a text file for each image."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.annotations.wrapped import AnnotatedSource
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.images.probe import probe
from shardwright.base.inputs import SPLITS
from shardwright.base.source import Source, digest_of
from shardwright.folders.source import FolderSource

__all__ = ["YoloSource", "is_yolo", "open_yolo"]


def is_yolo(folder: Path) -> bool:
    """Whether a folder holds images and labels side by side."""
    if not (folder / "images").is_dir() or not (folder / "labels").is_dir():
        return False
    return any(name.endswith(".txt") for _, _, names in os.walk(folder / "labels") for name in names)


def open_yolo(folder: Path, split: str | None) -> Source:
    """Return the source of one split of such a folder.

    Raises
    ------
    ConfigError
        If there are several, and it is not said which.
    """
    inside = sorted(p.name for p in (folder / "images").iterdir() if p.is_dir() and p.name.lower() in SPLITS)
    if inside and split not in inside:
        raise ConfigError(f"{folder} holds the splits {', '.join(inside)}: say which with split=")
    part = Path(split) if inside and split else Path()
    return YoloSource(folder, part)


class YoloSource(AnnotatedSource):
    """Images with ``boxes`` (n, 4) float32 in pixels, CXCYWH, and ``labels`` (n,) int64.

    Parameters
    ----------
    folder : Path
        With ``images/`` and ``labels/``; names of the classes from ``data.yaml`` or ``classes.txt``.
    part : Path
        A folder in both.
    """

    sample_type = "dict"

    def __init__(self, folder: Path, part: Path) -> None:
        images = FolderSource(folder / "images" / part)
        super().__init__(images, folder / "labels")
        self.ignored = dict(images.ignored)
        self._labels = folder / "labels" / part
        names = _class_names(folder, self.ignored)
        self.fields = {
            "boxes": Field("boxes", "array", box_format="CXCYWH"),
            "labels": Field("labels", "array", names=names),
        }
        self._count_of_classes = None if names is None else len(names)
        self.labels_from = "labels/*.txt"
        missing = sum(not self._file(index).is_file() for index in range(len(images)))
        if missing:
            self.ignored["image without a file in labels/: kept, without boxes"] = missing

    def _file(self, index: int) -> Path:
        return (self._labels / self.source.name(index)).with_suffix(".txt")

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.image(index)
        info = probe(image["image"].data, load=False)
        rows = self._rows(self._file(index))
        boxes = rows[:, 1:] * np.array([info.width, info.height] * 2)
        return {**image, "boxes": boxes.astype(np.float32), "labels": rows[:, 0].astype(np.int64)}

    def _rows(self, path: Path) -> NDArray[np.float64]:
        try:
            lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        except FileNotFoundError:
            lines = []
        for number, line in enumerate(lines, 1):
            if len(line) != 5:
                raise InputError(
                    f"{path}: line {number} has {len(line)} values: class, centre and size of a box are read"
                )
        try:
            rows = np.array(lines, np.float64).reshape(-1, 5)
        except ValueError as error:
            raise InputError(f"{path} holds other things than numbers ({error})") from error
        wrong = rows[:, 0] != np.rint(rows[:, 0])
        if self._count_of_classes is not None:
            wrong |= rows[:, 0] >= self._count_of_classes
        if wrong.any() or (rows[:, 0] < 0).any():
            raise InputError(f"{path}: class {rows[:, 0][wrong][:1]} has no name, or is no number of a class")
        return rows

    def content(self) -> dict[str, Any]:
        """Return that of the images, and a digest of the labels."""
        return {**self.source.content(), "labels": self._digest()}

    def state(self) -> str:
        """Return that of the images, and a digest of the labels."""
        return f"{self.source.state()}-{self._digest()}"

    def _digest(self) -> str:
        parts = []
        for index in range(len(self)):
            path = self._file(index)
            parts.append(path.read_bytes() if path.is_file() else b"\0")
        return digest_of(*parts)


def _class_names(folder: Path, ignored: dict[str, int]) -> tuple[str, ...] | None:
    for path in (folder / "classes.txt", folder / "labels" / "classes.txt", folder / "obj.names"):
        if path.is_file():
            return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    found = next((p for p in sorted(folder.glob("*.yaml")) if p.is_file()), None)
    if found is None:
        return None
    try:
        import yaml
    except ImportError:
        ignored[f"{found.name}, not read: PyYAML is not installed"] = 1
        return None
    try:
        names = yaml.safe_load(found.read_text(encoding="utf-8")).get("names")
    except (yaml.YAMLError, AttributeError, OSError, UnicodeDecodeError):
        names = None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        ignored[f"{found.name}: no names of classes in it"] = 1
        return None
    return tuple(map(str, names))
