"""The photos that the loader reads, and comparisons of what it gives."""

import io
import threading

import numpy as np
import torch
from PIL import Image

from shardwright.base.images import EncodedImage

COUNT = 45


class Photos:
    """JPEG files of varying size, made here; one PNG and one gray image among them."""

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8)
        image = Image.fromarray(pixels).resize((60 + index, 90 - index), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        image.convert("L" if index == 7 else "RGB").save(file, "PNG" if index == 11 else "JPEG")
        return EncodedImage(file.getvalue()), index % 5


def loader_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("loader-")]


def flat(loader):
    """All images and labels of an epoch, copied."""
    images, labels = zip(*[(x.clone(), y.clone()) for x, y in loader], strict=True)
    return torch.cat(images), torch.cat(labels)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
