"""Errors name the sample or the argument."""

import pytest
from torch.utils.data import IterableDataset

from shardwright.base.errors import ConfigError, CorruptShardError, InputError
from shardwright.base.fields import Field
from shardwright.pyarrow_ipc.converter import IpcConverter
from shardwright.pyarrow_ipc.reader import IpcReader
from shardwright.training.loader import ThreadedLoader
from shardwright.training.transforms import TrainTransform
from tests.training.loader.photos import Photos


class Broken:
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == 13:
            raise self.error
        return index


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_error_names_the_sample_and_ends_the_iteration(num_threads):
    iterator = iter(ThreadedLoader(Broken(KeyError("lost")), 5, num_threads=num_threads))
    assert [next(iterator).tolist() for _ in range(2)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    with pytest.raises(KeyError, match="sample 13 of Broken"):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


DAMAGE = {
    "before its pixels": lambda data: data[:30],
    "in its pixels": lambda data: data[: len(data) // 2],
    "in its pixels, and its end is there": lambda data: data[: len(data) // 2] + b"\xff\xd9",
}


@pytest.mark.parametrize("transform", [None, TrainTransform(8)])
@pytest.mark.parametrize("damage", DAMAGE)
def test_an_image_that_cannot_be_decoded_is_named(tmp_path, damage, transform):
    good, _ = Photos()[0]
    samples = [{"image": good.data} for _ in range(6)]
    samples[4] = {"image": DAMAGE[damage](good.data)}
    fields = [Field("image", "bytes")]
    IpcConverter(samples, tmp_path / "d", num_workers=0, fields=fields).convert()
    reader = IpcReader(tmp_path / "d", output="numpy")
    reader.fields = (Field("image", "image"),)  # as damage that was there before the conversion
    with pytest.raises(InputError, match=r"sample 4 of .*/d \(split 'train'\): the JPEG is (truncated|damaged)"):
        list(ThreadedLoader(reader, 3, transform=transform, num_threads=2))


class TooManyWindows(TrainTransform):
    """A transform whose windows are not those of the images."""

    def windows(self, sizes, numbers):
        return super().windows(sizes, numbers) * 2


def test_windows_must_be_as_many_as_the_images(jpeg):
    with pytest.raises(ValueError, match="longer than"):
        list(ThreadedLoader(jpeg, 3, transform=TooManyWindows(8)))


def test_damage_on_disk_is_named(paths, tmp_path):
    IpcConverter(Photos(), tmp_path / "d", num_workers=0).convert()
    [shard] = (tmp_path / "d" / "data").iterdir()
    data = bytearray(shard.read_bytes())
    reader = IpcReader(tmp_path / "d")
    data[int(reader.stored.records["image_offset"][20]) + 200] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptShardError, match="sample 20"):
        list(ThreadedLoader(reader, 8, transform=TrainTransform(8)))


class Numbers(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_threads": -1}, "num_threads=-1"),
        ({"prefetch": 0}, "prefetch=0"),
        ({"sampler": [1], "shuffle": True}, "sampler="),
        ({"batch_sampler": [[1]], "batch_size": 2}, "batch_sampler="),
    ],
)
def test_wrong_arguments_are_named(raw, words, message):
    with pytest.raises(ConfigError, match=message):
        ThreadedLoader(raw, **words)


def test_an_iterable_dataset_is_refused():
    with pytest.raises(ConfigError, match="Numbers"):
        ThreadedLoader(Numbers())
