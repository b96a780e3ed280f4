"""Where the images come from: a folder of yours, a download, or generated ones."""

import urllib.error
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import Caltech256

# Some of the real classes: those with odd things in them, and a few plain ones.
CLASSES = (
    "001.ak47",
    "004.baseball-bat",
    "056.dog",
    "105.horse",
    "145.motorbikes-101",
    "198.spider",
    "253.faces-easy-101",
    "257.clutter",
)


def class_folders(path: Path) -> Path:
    """Return the folder that holds the class folders, given it or a folder above it."""
    for folder in (path / "256_ObjectCategories", path / "caltech256" / "256_ObjectCategories", path):
        if folder.is_dir():
            return folder
    raise SystemExit(f"{path} is not a folder; give the one that holds 001.ak47, 002.american-flag, ...")


def download(path: Path) -> Path:
    """Download Caltech-256 (1.2 GB) unless it is there, and return its class folders."""
    try:
        Caltech256(str(path), download=True)
    except (urllib.error.URLError, TimeoutError, RuntimeError) as error:
        raise SystemExit(
            f"Caltech-256 could not be downloaded: {error}\n"
            "Without a network: copy 256_ObjectCategories.tar here from a machine that has one, unpack it,\n"
            "and name the folder with --input-path. It is on https://data.caltech.edu/records/nyy15-4j048"
        ) from error
    return class_folders(path)


def make_images(path: Path, per_class: int = 40) -> Path:
    """Make a small folder in the layout of Caltech-256, odd things included, unless it is there, and return it."""
    root, unfinished = path / "256_ObjectCategories", path / "unfinished"
    if root.is_dir():
        return root
    for number, name in enumerate(CLASSES):
        folder = unfinished / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(1, per_class + 1):
            _image(number, i).save(folder / f"{name[:3]}_{i:04d}.jpg", quality=90)
    # Two things that lie about in the real one: a script among the spiders, a folder among the dogs.
    (unfinished / "198.spider" / "RENAME2").write_text("#!/bin/sh\n# not an image\n")
    nested = unfinished / "056.dog" / "greg"
    nested.mkdir(exist_ok=True)
    for i in range(per_class + 1, per_class + 3):
        _image(CLASSES.index("056.dog"), i).save(nested / f"056_{i:04d}.jpg", quality=90)
    return unfinished.rename(root)


def _image(number: int, seed: int) -> Image.Image:
    """Return a picture of class `number`: stripes in its own colour and direction, in any size."""
    rng = np.random.default_rng([number, seed])
    height, width = rng.integers(140, 320, size=2)
    y, x = np.mgrid[:height, :width]
    angle = np.pi * number / len(CLASSES)
    stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) / rng.uniform(8, 14) + rng.uniform(0, 6))
    colour = 128 + 100 * np.cos(2 * np.pi * (number / len(CLASSES) + np.array([0, 1 / 3, 2 / 3])))
    noise = rng.normal(0, 12, (height, width, 3))
    pixels = colour * (0.75 + 0.25 * stripes[:, :, None]) + noise
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.convert("L") if seed % 20 == 0 else image  # the real one has some in gray, too
