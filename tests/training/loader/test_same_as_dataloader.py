"""The batches are those of PyTorch's `DataLoader`, whatever is read and in whatever order."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Subset, TensorDataset
from torchvision.transforms import v2

from shardwright.base.errors import ConfigError, CorruptShardError
from shardwright.memmap.converter import MemmapConverter
from shardwright.memmap.reader import MemmapReader
from shardwright.pyarrow_ipc.converter import IpcConverter
from shardwright.pyarrow_ipc.reader import IpcReader
from shardwright.training.loader import ThreadedLoader
from shardwright.training.transforms import EvalTransform, TrainTransform
from tests.training.loader.photos import COUNT, Photos, flat, same


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_raw_batches_are_dataloaders(raw, num_threads, drop_last):
    words = {"batch_size": 8, "drop_last": drop_last}
    ours, like = ThreadedLoader(raw, num_threads=num_threads, **words), DataLoader(raw, **words)
    assert len(ours) == len(like)
    pairs = list(zip(ours, like, strict=True))
    assert len(pairs) == len(like)
    for mine, theirs in pairs:
        assert type(mine) is type(theirs)
        assert same(mine, theirs)
        assert mine[1].dtype == theirs[1].dtype


def test_samplers_are_dataloaders(raw):
    order = [3, 3, 1, 44, 0, 7, 9]
    for words in ({"sampler": order, "batch_size": 3}, {"batch_sampler": BatchSampler(order, 2, True)}):
        ours, like = ThreadedLoader(raw, num_threads=2, **words), DataLoader(raw, **words)
        assert len(ours) == len(like)
        assert all(same(a, b) for a, b in zip(ours, like, strict=True))


def test_batches_may_grow(raw):
    sizes = [[1], [2, 3, 4], list(range(20)), [5, 6]]
    batches = list(ThreadedLoader(raw, batch_sampler=sizes, num_threads=2))
    assert [len(y) for _, y in batches] == [1, 3, 20, 2]
    assert same(flat(batches), flat(DataLoader(raw, batch_sampler=sizes)))


def test_a_subset_of_a_subset_is_read_by_its_own_numbers(raw):
    inner = Subset(raw, range(10, 40))
    subset = Subset(inner, [0, 5, 29])
    assert same(flat(ThreadedLoader(subset, 2)), flat(DataLoader(subset, 2)))


def test_encoded_images_without_a_transform_come_as_a_list(jpeg):
    images, labels = next(iter(ThreadedLoader(jpeg, batch_size=4, num_threads=2)))
    assert [image.size for image in images] == [jpeg[i][0].size for i in range(4)]
    assert labels.tolist() == [0, 1, 2, 3]


def test_dict_samples_and_every_kind_of_field(tmp_path):
    samples = [
        {"image": np.full((6, 5, 3), i, np.uint8), "mask": np.full((6, 5), i, np.uint8), "text": f"t{i}", "x": i / 2}
        for i in range(5)
    ]
    IpcConverter(samples, tmp_path / "d", num_workers=0).convert()
    reader = IpcReader(tmp_path / "d", output="numpy")
    batch = next(iter(ThreadedLoader(reader, batch_size=5)))
    assert batch["text"] == [f"t{i}" for i in range(5)]
    assert batch["x"].tolist() == [i / 2 for i in range(5)]
    assert all((image == i).all() for i, image in enumerate(batch["image"]))
    with pytest.raises(ConfigError, match="'mask'"):
        ThreadedLoader(reader, transform=TrainTransform(4))
    unmasked = IpcReader(tmp_path / "d", columns=["image", "x"])
    assert next(iter(ThreadedLoader(unmasked, 5, transform=EvalTransform(4, resize=4))))["image"].shape == (5, 3, 4, 4)


@pytest.mark.parametrize(("dtype", "shape"), [("uint8", (6, 5)), ("uint16", (6, 5)), ("bool", (6, 5, 1))])
def test_raw_masks_are_dataloaders(tmp_path, dtype, shape):
    mask = np.arange(30).reshape(shape).astype(dtype)
    MemmapConverter([{"mask": mask, "x": i} for i in range(3)], tmp_path / "m", num_workers=0, shape=None).convert()
    reader = MemmapReader(tmp_path / "m", output="tensor")
    ours, like = (next(iter(loader(reader, 3)))["mask"] for loader in (ThreadedLoader, DataLoader))
    assert torch.equal(ours, like)
    assert ours.dtype == like.dtype


def test_planar_and_gray_raw_images(tmp_path):
    MemmapConverter(Photos(), tmp_path / "p", num_workers=0, shape=(48, 40), layout="NCHW").convert()
    MemmapConverter(Photos(), tmp_path / "g", num_workers=0, shape=(48, 40), im_mode="L").convert()
    planar, gray = (MemmapReader(tmp_path / name, output="tensor") for name in "pg")
    for reader in (planar, gray):
        assert same(flat(ThreadedLoader(reader, 8)), flat(DataLoader(reader, 8)))
        [(whole, _)] = ThreadedLoader(reader, COUNT, transform=EvalTransform((48, 40), resize=48, dtype=torch.uint8))
        assert whole.shape == (COUNT, 3, 48, 40)
    images, _ = flat(ThreadedLoader(planar, 8, transform=EvalTransform(40, resize=40, dtype=torch.uint8)))
    like = v2.CenterCrop(40)(torch.stack([planar[i][0] for i in range(COUNT)]))
    assert (images.int() - like.int()).abs().max() <= 1


def test_mapped_files_give_the_same_batches(paths, raw):
    mapped = MemmapReader(paths / "raw", output="tensor", mmap=True)
    assert same(flat(ThreadedLoader(mapped, 8, True, seed=1)), flat(ThreadedLoader(raw, 8, True, seed=1)))
    again = pickle.loads(pickle.dumps(mapped))
    assert torch.equal(again[3][0], raw[3][0])
    broken = MemmapReader(paths / "raw", mmap=True, check=True)
    broken.stored.records = np.array(broken.stored.records)
    broken.stored.records["image_xxh3"][9] ^= 1
    with pytest.raises(CorruptShardError, match="sample 9"):
        broken[9]


def test_any_dataset_and_collate_function_work():
    dataset = TensorDataset(torch.arange(10.0), torch.arange(10))
    assert same(flat(ThreadedLoader(dataset, 4)), flat(DataLoader(dataset, 4)))
    assert list(ThreadedLoader(dataset, 5, collate_fn=len)) == [5, 5]


def test_tensors_are_moved_to_the_device(raw):
    images, labels = next(iter(ThreadedLoader(raw, 4, device="meta")))
    assert images.device.type == labels.device.type == "meta"
