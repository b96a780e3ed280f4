"""COCO's annotations: boxes, class numbers and masks of the objects in each image."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardwright.annotations.matching import match_rows
from shardwright.annotations.wrapped import AnnotatedSource
from shardwright.base.errors import ConfigError, InputError, LimitError
from shardwright.base.fields import Field
from shardwright.base.source import Source

__all__ = ["CocoSource", "is_coco"]

_MAX_BYTES = 2**31
_MAX_MASKS = 2**31  # bytes of the masks of one image


def is_coco(content: Any) -> bool:
    """Whether JSON is one of COCO's files of objects."""
    return isinstance(content, dict) and isinstance(content.get("images"), list) and "annotations" in content


class CocoSource(AnnotatedSource):
    """Images with ``boxes`` (n, 4) float32 XYWH, ``labels`` (n,) int64, ``iscrowd`` (n,) and ``masks`` (n, H, W).

    Class numbers count the categories in the order of their ids, from 0. Masks are there if the file has
    segmentations; they are those of pycocotools.

    Parameters
    ----------
    source : Source
        The images.
    path : Path
        The ``.json`` file.

    Raises
    ------
    InputError
        If it is none of COCO's files, or about other images.
    ConfigError
        If it has segmentations and pycocotools is not installed.
    """

    sample_type = "dict"

    def __init__(self, source: Source, path: Path) -> None:
        super().__init__(source, path)
        content = _read(path)
        try:
            self._take(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: an entry lacks something, or it is of another type ({error!r})") from error
        if self._has_masks:
            _mask_api()

    def _take(self, content: dict[str, Any]) -> None:
        """Keep what the file says of the images."""
        path, images = self.path, content["images"]
        rows = match_rows(self.names(), [str(image["file_name"]) for image in images], str(path))
        categories = sorted(content.get("categories", []), key=lambda entry: entry["id"])
        self._number = {entry["id"]: number for number, entry in enumerate(categories)}
        names = tuple(str(entry["name"]) for entry in categories)
        places = {image["id"]: row for row, image in enumerate(images)}
        self._sizes = [(int(image["height"]), int(image["width"])) for image in images]
        self._objects: list[list[dict[str, Any]]] = [[] for _ in images]
        for entry in content["annotations"]:
            if len([float(number) for number in entry["bbox"]]) != 4:
                raise ValueError(f"bbox of annotation {entry.get('id')}")
            self._objects[self._place(places, entry)].append(entry)
        self._rows = rows
        self._has_masks = any(entry.get("segmentation") for found in self._objects for entry in found)
        self.fields["boxes"] = Field("boxes", "array", box_format="XYWH")
        self.fields["labels"] = Field("labels", "array", names=names)
        self.fields["iscrowd"] = Field("iscrowd", "array")
        if self._has_masks:
            self.fields["masks"] = Field("masks", "array", of_masks=True)
        self.labels_from = f"categories of {path.name}"
        self._count(rows, len(images), "entry")

    def _place(self, places: Mapping[Any, int], entry: dict[str, Any]) -> int:
        if entry.get("image_id") not in places or entry.get("category_id") not in self._number:
            raise InputError(
                f"{self.path}: annotation {entry.get('id')} is of image {entry.get('image_id')} and category "
                f"{entry.get('category_id')}, of which one is not in the file"
            )
        return places[entry["image_id"]]

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self._rows[index])
        found = self._objects[row] if row >= 0 else []
        boxes = np.array([entry["bbox"] for entry in found], np.float32).reshape(-1, 4)
        labels = np.array([self._number[entry["category_id"]] for entry in found], np.int64)
        crowd = np.array([int(entry.get("iscrowd", 0)) for entry in found], np.uint8)
        sample = {**self.image(index), "boxes": boxes, "labels": labels, "iscrowd": crowd}
        if self._has_masks:
            sample["masks"] = self._masks(found, self._sizes[row] if row >= 0 else (0, 0))
        return sample

    def _masks(self, found: list[dict[str, Any]], size: tuple[int, int]) -> NDArray[np.uint8]:
        if len(found) * size[0] * size[1] > _MAX_MASKS:
            raise LimitError(f"{self.path}: {len(found)} masks of {size[0]} x {size[1]} are more than are read")
        masks = np.zeros((len(found), *size), np.uint8)
        for mask, entry in zip(masks, found, strict=True):
            mask[...] = _decoded(entry.get("segmentation"), size, f"{self.path}: annotation {entry.get('id')}")
        return masks


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise LimitError(f"{path} has more than {_MAX_BYTES:,} bytes, too many for annotations")
        content = json.loads(path.read_bytes())
        if not is_coco(content):
            raise InputError(f"{path} is no file of COCO's: it has no images and annotations")
        needed = all({"id", "file_name", "height", "width"} <= image.keys() for image in content["images"])
        if not needed or not isinstance(content["annotations"], list):
            raise InputError(f"{path}: an image has no id, file_name, height or width")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; check the path") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no JSON of COCO's ({error})") from error
    return dict(content)


def _mask_api() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ConfigError("masks of COCO are read with pycocotools: pip install 'shardwright[coco]'") from error
    return mask


def _decoded(segmentation: Any, size: tuple[int, int], where: str) -> NDArray[np.uint8]:
    """Return the mask (H, W) of polygons, of run lengths, or of compressed run lengths."""
    if not segmentation:
        return np.zeros(size, np.uint8)
    api = _mask_api()
    try:
        if isinstance(segmentation, list):
            runs = api.merge(api.frPyObjects(segmentation, *size))
        elif isinstance(segmentation.get("counts"), list):
            runs = api.frPyObjects(segmentation, *size)
        else:
            runs = segmentation
        if tuple(runs["size"]) != size:
            raise InputError(f"{where}: its mask is of {tuple(runs['size'])}, the image of {size}")
        mask: NDArray[np.uint8] = api.decode(runs)
    except InputError:
        raise
    except Exception as error:  # pycocotools raises plain ones
        raise InputError(f"{where}: its segmentation cannot be read ({error})") from error
    return mask
