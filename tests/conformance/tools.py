"""What the conformance checks work with: small images, the same in every run, and a `Store`."""

import contextlib
import functools
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shardwright.base.formats import get_format
from shardwright.base.images import ResizeAndConvert

CLASSES = ("cat", "dog", "eel")
SHAPE = (8, 12)  # height and width of the fixed-size formats in these tests
# File extension, Pillow format, mode and options: what the images of `make_folder` are, in turn.
KINDS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("jpg", "JPEG", "RGB", {"quality": 90}),
    ("png", "PNG", "RGB", {}),
    ("JPEG", "JPEG", "L", {}),
    ("png", "PNG", "RGBA", {}),
    ("webp", "WEBP", "RGB", {"lossless": True}),
)


def picture(number: int, mode: str = "RGB", size: tuple[int, int] = (10, 14)) -> Image.Image:
    """An image (height, width) that is different for every number."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (*size, channels), np.uint8)
    return Image.fromarray(pixels.squeeze(axis=2) if channels == 1 else pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def numbered(count: int, size: tuple[int, int] = SHAPE) -> list[tuple[Image.Image, int]]:
    """A map-style dataset whose sample `n` is `picture(n)` with label `n`."""
    return [(picture(n, size=size), n) for n in range(count)]


def make_folder(root: Path, count: int = 12, kinds: Sequence[Any] = KINDS) -> Path:
    """Class folders of images; sizes and formats vary."""
    for number in range(count):
        extension, kind, mode, options = kinds[number % len(kinds)]
        path = root / CLASSES[number % len(CLASSES)] / f"{number:03d}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number, mode, (9 + number % 4, 11 + number % 5)), kind, **options))
    return root


def files_of(folder: Path) -> list[tuple[Path, int]]:
    """Every image file with its label, in the order of a conversion, found without the library."""
    classes = sorted(path.name for path in folder.iterdir())
    return [(path, n) for n, name in enumerate(classes) for path in sorted((folder / name).iterdir())]


def rgb(data: bytes) -> np.ndarray:
    """The pixels as Pillow alone decodes them, transparency laid over white."""
    image = Image.open(io.BytesIO(data))
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def hashes(root: Path) -> dict[str, str]:
    """sha256 of every file below a folder, hidden ones too."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def open_files(folder: Path) -> list[str]:
    """The files below a folder that this process has open, by descriptor or mapping."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
    links += [line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()]
    return sorted(link for link in links if link.startswith(str(folder)))


@dataclass(frozen=True)
class Store:
    """One format under test and the folder for its output.

    `like` is the format whose own library opens the shards; it differs from
    `name` only for formats that are registered by a test.
    """

    name: str
    root: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    like: str = ""

    @property
    def kind(self) -> str:
        """The format whose own library opens the shards."""
        return self.like or self.name

    @property
    def fixed(self) -> bool:
        """Whether images are decoded and brought to one size."""
        return bool(get_format(self.name).load_converter().fixed_size)

    def converter(self, input_data: Any, out: str | Path = "out", **options: Any) -> Any:
        """A converter with small shards and no worker processes, unless `options` say otherwise."""
        small = {"images_per_file": 5, "batch_size": 3, "num_workers": 0, "progress": False}
        if self.fixed:
            small["shape"] = SHAPE
        return get_format(self.name).load_converter()(
            input_data, self.root / out, **{**small, **self.options, **options}
        )

    def convert(self, input_data: Any, out: str | Path = "out", **options: Any) -> Path:
        """Convert; return the folder of the split."""
        self.converter(input_data, out, **options).convert()
        return self.root / out

    def open(self, path: Path, **options: Any) -> Any:
        """The format's reader."""
        return get_format(self.name).load_reader()(path, **options)

    @functools.cached_property
    def photos(self) -> Path:
        """A split of `make_folder`, converted once."""
        return self.convert(make_folder(self.root / "photos-in"), "photos-out")

    @property
    def photo_files(self) -> list[tuple[Path, int]]:
        """The files and labels that `photos` was made of."""
        return files_of(self.root / "photos-in")

    @functools.cached_property
    def numbers(self) -> Path:
        """A split of `numbered(23)` in shards of 5, converted once."""
        return self.convert(numbered(23), "numbers-out")

    def pixels(self, data: bytes) -> np.ndarray:
        """What reading an image must give in RGB: worked out by hand, not by reader or converter."""
        if self.fixed:
            return np.asarray(ResizeAndConvert(SHAPE, "RGB")(data))
        return rgb(data)

    def shards(self, path: Path, split: str = "train") -> list[Path]:
        """The files of the shards."""
        return sorted(p for p in (path / "data").iterdir() if p.name.startswith(f"{split}-"))


def same_as_numbered(samples: Sequence[Any], numbers: Sequence[int]) -> bool:
    """Whether samples are those of `numbered`, pixel by pixel, with these numbers."""
    return len(samples) == len(numbers) and all(
        label == number and np.array_equal(np.asarray(image), np.asarray(picture(number, size=SHAPE)))
        for (image, label), number in zip(samples, numbers, strict=True)
    )
