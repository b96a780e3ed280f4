"""What a sample is: its mode, its fields, the image that is transformed, and who hands it out."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset
from torchvision import tv_tensors

from shardwright.base.fields import Field
from shardwright.memmap.converter import MemmapConverter
from shardwright.memmap.reader import MemmapReader
from shardwright.pyarrow_ipc.converter import IpcConverter
from shardwright.pyarrow_ipc.reader import IpcReader
from shardwright.training.loader import ThreadedLoader
from shardwright.training.transforms import EvalTransform
from tests.training.loader.edges.arrays import COUNT, samples


@pytest.mark.parametrize(
    ("channels", "mode"), [((3,), "L"), ((3,), "RGBA"), ((3,), "I;16"), ((), "RGB"), ((4,), "RGB")]
)
def test_raw_images_come_in_the_mode_that_was_asked_for(tmp_path, channels, mode):
    MemmapConverter(samples(channels=channels), tmp_path / "d", num_workers=0, shape=None).convert()
    reader = MemmapReader(tmp_path / "d", output="tensor", mode=mode)
    [wanted] = DataLoader(reader, COUNT)
    for num_threads in (0, 2):
        [batch] = ThreadedLoader(reader, COUNT, num_threads=num_threads)
        assert torch.equal(batch["image"], wanted["image"])
        assert batch["label"].tolist() == wanted["label"].tolist()


@pytest.mark.parametrize("name", ["whole", "crop", "decoded"])
def test_a_field_may_have_any_name(tmp_path, name):
    fields = [Field(name, "image")]
    MemmapConverter(samples(name), tmp_path / "d", num_workers=0, shape=(12, 10), fields=fields).convert()
    reader = MemmapReader(tmp_path / "d", output="numpy")
    transform = EvalTransform(16, resize=64)
    found = torch.cat([batch[name] for batch in ThreadedLoader(reader, 5, num_threads=0, transform=transform)])
    assert torch.equal(found, torch.stack([transform(sample[name]) for sample in reader]))


@pytest.mark.parametrize("columns", [("label", "image"), ("image", "label")])
@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: r.concat(r), lambda r: Subset(r, range(COUNT))])
def test_the_transform_is_of_the_first_image_wherever_it_stands(path, columns, wrap):
    reader = wrap(MemmapReader(path, output="tensor", columns=columns))
    sample = ThreadedLoader(reader, 1, num_threads=0, transform=lambda image: image.float() / 255, collate_fn=list)
    [values] = next(iter(sample))
    image, label = (values[columns.index(name)] for name in ("image", "label"))
    assert image.dtype == torch.float32
    assert label == 0


def test_the_transform_is_of_the_first_image_of_a_dict_too(tmp_path):
    data = [{"number": n, "photo": sample["image"]} for n, sample in enumerate(samples())]
    fields = [Field("photo", "image")]
    MemmapConverter(data, tmp_path / "d", num_workers=0, shape=(12, 10), fields=fields).convert()
    reader = MemmapReader(tmp_path / "d", output="tensor")
    batch = next(iter(ThreadedLoader(reader, 4, num_threads=0, transform=lambda image: image.float())))
    assert batch["photo"].dtype == torch.float32
    assert batch["number"].tolist() == [0, 1, 2, 3]


def test_lists_of_tv_tensors_are_those_of_the_samples(tmp_path):
    data = [
        {
            "image": sample["image"],
            "mask": np.full((12, 10), 3, np.uint8),
            "boxes": np.array([[0, 0, 4, 5]] * n, np.float32).reshape(-1, 4),
            "label": n,
        }
        for n, sample in enumerate(samples())
    ]
    IpcConverter(data, tmp_path / "d", num_workers=0).convert()
    reader = IpcReader(tmp_path / "d", output="tv_tensor")
    [batch] = ThreadedLoader(reader, COUNT, num_threads=2)
    kinds = {"image": tv_tensors.Image, "mask": tv_tensors.Mask, "boxes": tv_tensors.BoundingBoxes}
    for name, kind in kinds.items():
        for found, sample in zip(batch[name], reader, strict=True):
            assert type(found) is kind is type(sample[name])
            assert torch.equal(found, sample[name])
    assert batch["boxes"][2].canvas_size == (12, 10)
    assert type(batch["label"]) is torch.Tensor


class Doubled(Subset):
    """Changes what its samples are."""

    def __getitem__(self, index):
        image, label = self.dataset[self.indices[index]]
        return image, 2 * label

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class DoubledReader(MemmapReader):
    def __getitems__(self, indices):
        return [(image, 2 * label) for image, label in super().__getitems__(indices)]


def test_subclasses_that_change_the_samples_are_asked_for_them(path, raw):
    for dataset in (Doubled(raw, range(4)), Subset(Doubled(raw, range(4)), range(4)), DoubledReader(path)):
        loader = ThreadedLoader(dataset, 4, num_threads=0, collate_fn=None, transform=EvalTransform(8, resize=8))
        assert next(iter(loader))[1].tolist() == [0, 2, 4, 6]


def test_pinning_without_a_gpu_is_left_out_with_a_warning(raw):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.warns(UserWarning, match="pin_memory"):
        loader = ThreadedLoader(raw, 4, pin_memory=True, num_threads=0)
    assert not next(iter(loader))[0].is_pinned()
