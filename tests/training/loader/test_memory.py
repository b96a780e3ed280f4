"""Memory is lent to batches: kept as long as anything looks at it, then used again."""

import gc

import numpy as np
import pytest
import torch

from shardwright.training.loader import ThreadedLoader
from shardwright.training.ring import Pool
from shardwright.training.transforms import TrainTransform


def test_kept_batches_are_never_overwritten(raw):
    loader = ThreadedLoader(raw, 4, num_threads=2, prefetch=3)
    kept = [(batch, batch[0].clone()) for _ in range(3) for batch in loader]
    assert all(torch.equal(batch[0], copy) for batch, copy in kept)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[1:2, 0],
        lambda x: x.numpy()[0],
        lambda x: x.view(torch.int8),
        lambda x: x.permute(0, 2, 3, 1).reshape(-1)[5:],
        lambda x: x.untyped_storage(),
        lambda x: memoryview(x.numpy()),
    ],
)
def test_every_kind_of_view_keeps_the_memory(raw, view):
    loader = ThreadedLoader(raw, 4, num_threads=0)
    held = view(next(iter(loader))[0])
    before = content(held)
    for images, _ in loader:
        images.fill_(0)
    assert content(held) == before
    assert any(before)


def content(memory):
    if isinstance(memory, memoryview):
        return memory.tobytes()
    if isinstance(memory, torch.UntypedStorage):
        return bytes(memory)
    return np.asarray(memory).tobytes()


@pytest.mark.parametrize("num_threads", [0, 2])
def test_batches_that_are_dropped_in_a_reference_cycle_come_back(raw, num_threads):
    """Their memory returns from within the garbage collector."""
    addresses = set()
    for images, _ in ThreadedLoader(raw, 2, num_threads=num_threads):
        cycle = [images]
        cycle.append(cycle)
        addresses.add(images.data_ptr())
        gc.collect()  # those of the batches before
    assert len(addresses) <= 6  # of 23 batches


def test_memory_is_used_again(raw):
    addresses = {images.data_ptr() for images, _ in ThreadedLoader(raw, 2, num_threads=1, prefetch=2)}
    assert len(addresses) <= 5  # of 23 batches


@pytest.mark.parametrize("output", ["numpy", "tensor"])
def test_decoded_images_are_safe_to_keep_too(jpeg, output):
    jpeg.output = output
    loader = ThreadedLoader(jpeg, 5, num_threads=2)
    kept = [np.asarray(image)[..., 3:9, 2:] for images, _ in loader for image in images]  # views of views
    assert [len(images) for images, _ in loader] == [5] * 9
    assert all((view == np.asarray(jpeg[i][0])[..., 3:9, 2:]).all() for i, view in enumerate(kept))


def test_the_memory_of_decoded_images_is_used_again():
    pool = Pool()
    first = pool.pixels((90, 100, 3))
    address = first.ctypes.data
    part = first[3:5]
    del first
    assert pool.pixels((90, 100, 3)).ctypes.data != address
    del part
    assert pool.pixels((91, 100, 3)).ctypes.data == address
    small = Pool(limit=0)
    held = [small.pixels((90, 100, 3)) for _ in range(3)]
    del held
    assert small.pixels((90, 100, 3)).shape == (90, 100, 3)


def test_bfloat16_is_lent_too(raw):
    transform = TrainTransform(16, dtype=torch.bfloat16)
    images, _ = next(iter(ThreadedLoader(raw, 4, transform=transform)))
    assert images.dtype == torch.bfloat16
    assert images.is_contiguous(memory_format=torch.channels_last)
