"""The folder of images that torchvision's datasets read."""

import pytest
from PIL import Image


@pytest.fixture
def root(tmp_path):
    """Two classes, three images; the bytes of all differ."""
    for number, path in enumerate(["root/cat/a.png", "root/dog/b.png", "root/dog/c.png"]):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 3), (number * 80, 0, 0)).save(file)
    return tmp_path / "root"
