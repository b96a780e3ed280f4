"""Masks are masks, whatever they come as: stored exactly, resized to the nearest pixel, cropped with the image."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.index_files import index_files
from shardwright.base.reader import open_reader
from shardwright.memmap.converter import MemmapConverter
from shardwright.parquet.converter import ParquetConverter
from shardwright.tar.converter import TarConverter

H, W = 24, 40
IDS = np.arange(H)[:, None] // 4 * 10 + np.arange(W) // 12  # 0 to 53
PICTURE = np.stack([IDS] * 3, axis=2).astype(np.uint8)

ARRAYS: dict[str, Any] = {
    "uint8 (H,W)": IDS.astype(np.uint8),
    "int64 (H,W)": IDS.astype(np.int64),
    "int32 (1,H,W)": IDS.astype(np.int32)[None],
    "uint16 (H,W,1)": IDS.astype(np.uint16)[:, :, None],
    "float64 whole": IDS.astype(np.float64),
    "tensor uint8 (1,H,W)": torch.from_numpy(IDS)[None].to(torch.uint8),
    "tensor int64 (H,W)": torch.from_numpy(IDS),
    "tensor float (1,H,W)": torch.from_numpy(IDS)[None].float(),
    "tensor int32 (H,W,1)": torch.from_numpy(IDS).int()[:, :, None],
    "tv mask (1,H,W)": tv_tensors.Mask(torch.from_numpy(IDS)[None]),
}
PICTURES: dict[str, Any] = {
    "L": Image.fromarray(IDS.astype(np.uint8)),
    "P": Image.fromarray(IDS.astype(np.uint8)).convert("P"),
    "I": Image.fromarray(IDS.astype(np.int32)),
    "I;16": Image.fromarray(IDS.astype(np.uint16)),
}
PICTURES["P"].putdata(list(IDS.astype(np.uint8).tobytes()))
NAMES = ("mask", "label", "annotation", "gt", "target", "road_mask", "seg", "segmentation", "seg_map")


def convert(converter: Any, data: Any, path: Path, **options: Any) -> Any:
    converter(data, path, num_workers=0, **options).convert()
    return open_reader(path, output="numpy")


def values(reader: Any, index: int = 0) -> list[Any]:
    sample = reader[index]
    return list(sample.values()) if isinstance(sample, dict) else list(sample)


@pytest.mark.parametrize("kind", [*ARRAYS, *PICTURES])
@pytest.mark.parametrize("as_dict", [False, True])
def test_ids_come_back_and_move_with_the_image(kind: str, as_dict: bool, tmp_path: Path) -> None:
    mask = (ARRAYS | PICTURES)[kind]
    data = [{"image": PICTURE, "mask": mask} if as_dict else (PICTURE, mask)] * 2
    for converter in (ParquetConverter, TarConverter):
        reader = convert(converter, data, tmp_path / converter.__name__)
        assert [f.kind for f in reader.fields] == ["image", "mask"]
        assert np.array_equal(values(reader)[1], IDS)
    small = convert(MemmapConverter, data, tmp_path / "m", shape=(H // 2, W // 2))
    image, ids = values(small)
    assert image.shape[:2] == ids.shape == (H // 2, W // 2)
    assert set(ids.ravel().tolist()) <= set(IDS.ravel().tolist())  # nothing in between
    cropped = open_reader(tmp_path / "ParquetConverter", output="tv_tensor", transforms=v2.RandomCrop(16))
    image, ids = values(cropped)
    assert image.shape[-2:] == ids.shape[-2:] == (16, 16)
    assert torch.equal(image[0].long(), ids.squeeze().long())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["int64 (H,W)", "tensor uint8 (1,H,W)", "L", "P", "I;16"])
def test_names_of_masks(name: str, kind: str, tmp_path: Path) -> None:
    data = [{"image": PICTURE, name: (ARRAYS | PICTURES)[kind]}]
    reader = convert(ParquetConverter, data, tmp_path)
    assert reader.fields[1].kind == "mask"
    assert np.array_equal(values(reader)[1], IDS)


def test_bool_masks(tmp_path: Path) -> None:
    for number, mask in enumerate([IDS > 30, torch.from_numpy(IDS > 30)[None], Image.fromarray(IDS > 30)]):
        assert np.array_equal(values(convert(ParquetConverter, [(PICTURE, mask)], tmp_path / str(number)))[1], IDS > 30)


def test_a_target_in_colours_is_an_image(tmp_path: Path) -> None:
    reader = convert(ParquetConverter, [{"image": PICTURE, "target": Image.fromarray(PICTURE)}], tmp_path)
    assert reader.fields[1].kind == "image"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", np.zeros((3, 4), np.float32)),  # boxes
        ("label", np.zeros((17, 2), np.int64)),  # key points
        ("gt", torch.zeros(5, 17, 3)),
        ("depth", np.full((H, W), 0.5, np.float32)),  # a name that says nothing
        ("label", np.zeros(14, np.int64)),
    ],
)
def test_other_arrays_stay_arrays(name: str, value: Any, tmp_path: Path) -> None:
    reader = convert(ParquetConverter, [{"image": PICTURE, name: value}], tmp_path)
    assert (reader.fields[1].kind, reader.fields[1].of_masks) == ("array", False)
    assert np.array_equal(values(reader)[1], np.asarray(value))


def test_fractions_are_asked_for_once_and_the_advice_works(tmp_path: Path) -> None:
    data = [(PICTURE, np.full((H, W), 0.5, np.float32))]
    with pytest.raises(InputError, match="not whole ids") as caught:
        convert(ParquetConverter, data, tmp_path / "a")
    fields = eval(re.search(r"fields=(\[.*?\)\])", str(caught.value))[1])  # type: ignore[index]
    assert fields == [Field("mask", "array")]
    assert np.array_equal(values(convert(ParquetConverter, data, tmp_path / "b", fields=fields))[1], data[0][1])


def test_a_fraction_in_a_later_mask_names_the_sample(tmp_path: Path) -> None:
    data = [(PICTURE, IDS.astype(np.float32)), (PICTURE, IDS + np.float32(0.25))]
    with pytest.raises(InputError, match=r"sample 1.*0\.25, which is no whole id"):
        convert(ParquetConverter, data, tmp_path)


@pytest.mark.parametrize("ids", [IDS - 1, IDS + 70_000])
def test_ids_that_no_file_holds_are_refused_and_the_advice_works(ids: Any, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, InputError), match=r"0 to 65535.*the kind 'array'"):
        convert(ParquetConverter, [(PICTURE, ids)], tmp_path / "a")
    reader = convert(ParquetConverter, [(PICTURE, ids)], tmp_path / "b", fields=[Field("mask", "array")])
    assert np.array_equal(values(reader)[1], ids)
    fixed = convert(MemmapConverter, [(PICTURE, ids)], tmp_path / "c", shape=None)  # raw values hold them
    assert np.array_equal(values(fixed)[1], ids)


def test_wide_ids_have_one_type_in_all_samples(tmp_path: Path) -> None:
    data = [(PICTURE, IDS), (PICTURE, IDS * 1000)]
    reader = convert(ParquetConverter, data, tmp_path)
    both = [values(reader, i)[1] for i in range(2)]
    assert both[0].dtype == both[1].dtype
    assert np.array_equal(both[1], IDS * 1000)


def test_instance_masks_are_masks(tmp_path: Path) -> None:
    def sample(count: int) -> Any:
        return PICTURE, torch.from_numpy(np.stack([i == IDS for i in range(count)]))

    reader = convert(ParquetConverter, [sample(3), sample(5)], tmp_path / "p")
    assert reader.fields[1].of_masks
    image, masks = values(open_reader(tmp_path / "p", output="tv_tensor", transforms=v2.CenterCrop(16)), 1)
    assert isinstance(masks, tv_tensors.Mask)
    assert masks.shape == (5, 16, 16)
    assert image.shape[-2:] == (16, 16)
    with pytest.raises(ConfigError, match=r"not resized to shape=.*shape=None"):
        convert(MemmapConverter, [sample(3)], tmp_path / "m")


def test_shrinking_takes_the_nearest_id(tmp_path: Path) -> None:
    reader = convert(ParquetConverter, [(PICTURE, IDS)], tmp_path, longer_side=20)
    image, ids = values(reader)
    assert image.shape[:2] == ids.shape == (12, 20)
    assert set(ids.ravel().tolist()) <= set(IDS.ravel().tolist())


@pytest.mark.parametrize("value", [torch.rand(3, H, W), np.zeros((H, W, 3), np.float32), np.zeros((3, H, W), np.int64)])
def test_images_of_numbers_are_never_left_at_another_size_than_was_asked_for(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not resized to shape=\(8, 8\): give shape=None"):
        convert(MemmapConverter, [value], tmp_path / "a", shape=(8, 8))
    assert np.array_equal(
        values_of_one(convert(MemmapConverter, [value], tmp_path / "b", shape=None)), np.asarray(value)
    )
    assert np.array_equal(
        values_of_one(convert(MemmapConverter, [value], tmp_path / "c", shape=(H, W))), np.asarray(value)
    )


def values_of_one(reader: Any) -> Any:
    return values(reader)[0] if isinstance(reader[0], (dict, tuple)) else reader[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, bool])
@pytest.mark.parametrize("name", ["mask", "masks", "label"])
def test_arrays_of_masks_in_files_are_masks(dtype: Any, name: str, tmp_path: Path) -> None:
    ids = np.stack([IDS, IDS]).astype(dtype)
    np.savez(tmp_path / "a.npz", images=np.stack([PICTURE, PICTURE]), **{name: ids})
    reader = convert(ParquetConverter, tmp_path / "a.npz", tmp_path / "out")
    index_files(tmp_path / "a.npz", tmp_path / "index")
    for found in (reader, open_reader(tmp_path / "index", data_path=tmp_path, output="numpy")):
        assert found.fields[1].kind == "mask"
        assert np.array_equal(values(found, 1)[1], ids[1])
