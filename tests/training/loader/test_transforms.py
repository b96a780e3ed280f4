"""Transforms of whole batches give what torchvision gives, and any callable works."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from shardwright.base.images import EncodedImage
from shardwright.pyarrow_ipc.converter import IpcConverter
from shardwright.pyarrow_ipc.reader import IpcReader
from shardwright.training.loader import ThreadedLoader
from shardwright.training.transforms import EvalTransform, TrainTransform
from tests.training.loader.photos import COUNT, flat, same


@pytest.mark.parametrize("kind", ["jpeg", "raw"])
def test_fused_evaluation_is_torchvisions(kind, request):
    reader = request.getfixturevalue(kind)
    images, labels = flat(ThreadedLoader(reader, 8, transform=EvalTransform(32, resize=36, dtype=torch.uint8)))
    like = v2.Compose([v2.Resize(36), v2.CenterCrop(32)])
    reader.output, reader.modes = "tensor", {"image": "RGB"}
    wanted = torch.stack([like(reader[i][0]) for i in range(COUNT)])
    assert (images.int() - wanted.int()).abs().max() <= 1
    assert labels.tolist() == reader.targets.tolist()


@pytest.mark.parametrize("kind", ["jpeg", "raw"])
def test_fused_training_batches_do_not_depend_on_threads_or_batch_size(kind, request):
    reader = request.getfixturevalue(kind)
    loaders = [
        ThreadedLoader(reader, batch_size, True, transform=TrainTransform(24), num_threads=threads, seed=7)
        for batch_size, threads in [(8, 0), (8, 1), (8, 4), (19, 2)]
    ]
    epochs = [[flat(loader) for _ in range(2)] for loader in loaders]
    assert all(same(epochs[0][e], other[e]) for other in epochs for e in (0, 1))
    assert not torch.equal(epochs[0][0][1], epochs[0][1][1])  # another order in the next epoch


def test_crops_of_a_jpeg_are_those_of_its_pixels(jpeg):
    """The rows that are not decoded make no difference."""
    words = {"transform": TrainTransform(24, dtype=torch.uint8), "seed": 1, "batch_size": 8}
    decoded = [(np.asarray(image.convert("RGB")), label) for image, label in jpeg]
    assert same(flat(ThreadedLoader(jpeg, **words)), flat(ThreadedLoader(decoded, **words)))


@pytest.mark.parametrize("make", [TrainTransform, lambda size, **words: EvalTransform(size, resize=size, **words)])
def test_scaled_decoding_is_close(tmp_path, make):
    y, x = np.mgrid[0:400, 0:500]
    smooth = np.stack([y // 2, x // 2, (x + y) // 4], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=95)
    IpcConverter([(EncodedImage(file.getvalue()), 0)] * 12, tmp_path / "d", num_workers=0).convert()
    words = {"dtype": torch.uint8}
    exact, scaled = (
        flat(ThreadedLoader(IpcReader(tmp_path / "d"), 4, transform=make(32, scaled=s, **words), seed=3))[0].int()
        for s in (False, True)
    )
    difference = (exact - scaled).abs()
    assert 0 < difference.max() <= 8


def test_any_callable_works_sample_by_sample(jpeg):
    plain = v2.Compose([v2.RGB(), v2.Resize((20, 20)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    given = ThreadedLoader(jpeg, 8, transform=plain, num_threads=2)
    own = ThreadedLoader(IpcReader(jpeg.dataset_path, transform=plain), 8, num_threads=2)
    like = DataLoader(IpcReader(jpeg.dataset_path, transform=plain), 8)
    assert same(flat(given), flat(like))
    assert same(flat(own), flat(like))
