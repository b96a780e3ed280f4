"""A dataset that fills one buffer anew is stored rightly, with any batch size and any number of workers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shardwright.base.reader import open_reader
from shardwright.base.values.copied import copied
from shardwright.memmap.converter import MemmapConverter
from shardwright.parquet.converter import ParquetConverter


class Frames:
    """One buffer for all frames."""

    def __init__(self, buffer: Any, fill: Any) -> None:
        self.buffer, self.fill = buffer, fill

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        self.fill(self.buffer, 10 * index)
        return self.buffer, index


def fill_array(buffer: Any, value: int) -> None:
    buffer[:] = value


def fill_picture(buffer: Image.Image, value: int) -> None:
    buffer.paste(value, (0, 0, *buffer.size))


class View(Frames):
    def __getitem__(self, index: int) -> Any:
        super().__getitem__(index)
        return torch.from_numpy(self.buffer).permute(2, 0, 1), index


class Nested(Frames):
    def __getitem__(self, index: int) -> Any:
        self.buffer["at"] = [index]
        return {"image": np.full((4, 4), 10 * index, np.uint8), "about": self.buffer}


KINDS = {
    "array": lambda: Frames(np.zeros((4, 4, 3), np.uint8), fill_array),
    "tensor": lambda: Frames(torch.zeros(3, 4, 4, dtype=torch.uint8), fill_array),
    "tensor on an array": lambda: View(np.zeros((4, 4, 3), np.uint8), fill_array),
    "picture": lambda: Frames(Image.new("L", (4, 4)), fill_picture),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_frame_is_stored(kind: str, batch_size: int, workers: int, tmp_path: Path) -> None:
    for converter, options in ((ParquetConverter, {}), (MemmapConverter, {"shape": (4, 4), "im_mode": "L"})):
        path = tmp_path / converter.__name__
        converter(KINDS[kind](), path, batch_size=batch_size, num_workers=workers, **options).convert()
        found = [(int(np.asarray(image).max()), label) for image, label in open_reader(path)]
        assert found == [(10 * i, i) for i in range(6)]


def test_nested_values_are_stored(tmp_path: Path) -> None:
    ParquetConverter(Nested({}, None), tmp_path, num_workers=0).convert()
    assert [sample["about"] for sample in open_reader(tmp_path)] == [{"at": [i]} for i in range(6)]


def test_a_hook_still_gets_raw_values(tmp_path: Path) -> None:
    kinds = set()

    class Hooked(ParquetConverter):
        def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Any:
            kinds.update(type(sample["image"]) for sample in batch)
            return super()._custom_collate_fn(batch)

    Hooked(KINDS["tensor"](), tmp_path, num_workers=0).convert()
    assert kinds == {torch.Tensor}
    assert [int(np.asarray(image).max()) for image, _ in open_reader(tmp_path)] == [0, 10, 20, 30, 40, 50]


def test_a_picture_that_was_not_read_yet_is_left_so(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert copied(picture) is picture
        picture.load()
        assert copied(picture) is not picture
