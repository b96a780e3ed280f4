"""The real MNIST files: read, converted and learned from, where they are beside the repository."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from shardwright.base.formats import get_format
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader

MNIST = Path(__file__).resolve().parents[3] / "shared/data/mnist-t10k"


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not beside the repository")
def test_mnist_from_gzipped_idx():
    source = open_source(MNIST)
    pixels = np.frombuffer(gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = gzip.decompress((MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert len(source) == 10_000
    for i in (*range(0, 10_000, 501), 9_999, 0):
        np.testing.assert_array_equal(source[i]["image"], pixels.reshape(-1, 28, 28)[i])
        assert source[i]["label"] == labels[i]


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not beside the repository")
def test_a_network_learns_from_converted_mnist(tmp_path):
    """Labels and pixels that did not belong together could not be learned."""
    get_format("memmap").load_converter()(MNIST, tmp_path, shape=None, im_mode="L", num_workers=0).convert()
    reader = open_reader(tmp_path, output="tensor")
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 16, 5, 2), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(32 * 25, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    train = torch.utils.data.Subset(reader, range(8000))
    for images, labels in torch.utils.data.DataLoader(train, batch_size=32, shuffle=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images / 255), labels).backward()
        optimizer.step()
    test = torch.utils.data.Subset(reader, range(8000, 10_000))
    images, labels = next(iter(torch.utils.data.DataLoader(test, batch_size=2000)))
    with torch.no_grad():
        right = (model(images / 255).argmax(1) == labels).float().mean().item()
    assert right > 0.95
