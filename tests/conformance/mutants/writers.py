"""Mixins that break a converter. What they do wrong, they do before the converter's own comparison."""

import io
import itertools
from typing import Any

import numpy as np
from PIL import Image

from shardwright.base.images import EncodedImage

CALLS = itertools.count()


class LabelsShifted:
    """Every label goes to the next sample of its batch."""

    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
        columns = super()._custom_collate_fn(batch)
        return {**columns, "label": np.roll(columns["label"], 1)} if "label" in columns else columns


class NumbersClipped:
    """Whole numbers are cut to the range of 32 bits."""

    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
        columns = super()._custom_collate_fn(batch)
        return {k: c.clip(-(2**31), 2**31 - 1) if k in ("count", "label") else c for k, c in columns.items()}


class FloatLabels:
    """A label that is no whole number is made one."""

    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
        numbers = [{**s, "label": int(s["label"])} if isinstance(s.get("label"), float) else s for s in batch]
        return super()._custom_collate_fn(numbers)


class _ChangedImages:
    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
        return super()._custom_collate_fn([{**s, "image": self.change(s["image"])} for s in batch if "image" in s])

    @staticmethod
    def change(image: Any) -> Any:
        raise NotImplementedError


class ModeLost(_ChangedImages):
    """Every image becomes RGB."""

    @staticmethod
    def change(image: Any) -> Any:
        return image.convert("RGB") if isinstance(image, Image.Image) else image


class EncodedAgain(_ChangedImages):
    """JPEG files are decoded and encoded again."""

    @staticmethod
    def change(image: Any) -> Any:
        if not isinstance(image, EncodedImage) or not image.data.startswith(b"\xff\xd8"):
            return image
        file = io.BytesIO()
        Image.open(io.BytesIO(image.data)).save(file, "JPEG", quality=95)
        return EncodedImage(file.getvalue(), image.name)


class SidesSwapped:
    """Images are turned so that width stands for height; the shape of a field hides it."""

    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
        columns = super()._custom_collate_fn(batch)
        image = columns["image"]
        return {**columns, "image": image.transpose(0, 2, 1, 3).reshape(image.shape)}


class DependsOnBatches:
    """The first image of every batch is stored otherwise."""

    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
        first = {**batch[0], "label": batch[0]["label"] + 1} if batch[0].get("label") == 0 else batch[0]
        return super()._custom_collate_fn([first, *batch[1:]])


class DependsOnTime:
    """A file with the number of this call lies beside every shard."""

    @classmethod
    def _shard_extras(cls, path: Any, fields: Any) -> dict[str, bytes]:
        return {f"{path.stem}.log": str(next(CALLS)).encode()}


class Reversed:
    """A batch is written backwards: the converter itself must refuse that."""

    def _write_data_to_disk(self, shard: Any, batch: Any) -> None:
        for row in reversed(range(len(batch))):
            super()._write_data_to_disk(shard, batch.slice(row, row + 1))
