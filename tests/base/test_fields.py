"""Fields of every kind come back exactly: masks with their ids, boxes, text, numbers, arrays."""

import io
import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field
from shardwright.base.formats import format_names, get_format
from shardwright.base.images import EncodedImage
from shardwright.base.images.masks import encode_ids, ids_to_pil, to_ids
from shardwright.base.reader import open_reader
from shardwright.base.values.infer import infer_field
from tests.conformance.tools import encoded, picture

OUTPUTS = ("pil", "numpy", "tensor", "tv_tensor")
FIXED = ("memmap", "hdf5")
FLEXIBLE = ("parquet", "pyarrow_ipc", "tar")
HEIGHT, WIDTH = 9, 13
CAMVID = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid-sample"


def convert(data, path, name, **options):
    converter = get_format(name).load_converter()
    small = {"num_workers": 0, "progress": False, **({"shape": None} if converter.fixed_size else {})}
    converter(data, path, **{**small, **options}).convert()
    return path


def values_of(mask):
    """The numbers of a mask in any output, by hand."""
    return (mask.numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)).astype(np.int64)


# --- masks --------------------------------------------------------------------------------


def palette_mask(number):
    """A mask as Pascal VOC has them: 21 colours, ids 0 to 20, and 255 for what counts as nothing."""
    ids = np.random.default_rng(number).integers(0, 21, (HEIGHT, WIDTH)).astype(np.uint8)
    ids[0, :4] = 255
    mask = Image.fromarray(ids)
    mask.putpalette([n % 256 for n in range(10, 10 + 63)])
    return mask


def deep_mask(number):
    ids = np.random.default_rng(number).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
    ids[0, :3] = 0, 32768, 65535
    return Image.fromarray(ids)


def bit_mask(number):
    return Image.fromarray(np.random.default_rng(number).random((HEIGHT, WIDTH)) < 0.5)


def voc_file(number):
    """The bytes of a palette PNG, in which all 256 ids have a colour."""
    mask = palette_mask(number)
    mask.putpalette([n % 256 for n in range(768)])
    return EncodedImage(encoded(mask))


MASKS = {
    "palette": palette_mask,
    "palette file": voc_file,
    "16 bit": deep_mask,
    "16 bit file": lambda n: EncodedImage(encoded(deep_mask(n))),
    "1 bit": bit_mask,
    "1 bit file": lambda n: EncodedImage(encoded(bit_mask(n))),
    "mode I": lambda n: Image.fromarray(np.asarray(deep_mask(n)).astype(np.int32)),
    "colours": lambda n: picture(n, "RGB", (HEIGHT, WIDTH)),
    "uint16 array": lambda n: np.asarray(deep_mask(n)).copy(),
    "bool array": lambda n: np.asarray(bit_mask(n)).copy(),
    "uint8 tensor": lambda n: torch.from_numpy(np.asarray(palette_mask(n)).copy()),
}


def by_hand(mask):
    """The values of a mask, as Pillow and NumPy give them."""
    if isinstance(mask, EncodedImage):
        mask = Image.open(io.BytesIO(mask.data))
    return values_of(mask)


def masks_in(path, output):
    """All masks of a split, channels last."""
    masks = [values_of(mask) for _, mask in open_reader(path, output=output)]
    return [m.transpose(1, 2, 0) if m.ndim == 3 and "tensor" in output else m for m in masks]


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", format_names())
def test_masks_keep_their_values_through_two_formats_and_every_output(tmp_path, name, kind):
    data = [(picture(n, size=(HEIGHT, WIDTH)), MASKS[kind](n)) for n in range(3)]
    wanted = [by_hand(mask) for _, mask in data]
    paths = [convert(data, tmp_path / "one", name)]
    paths += [convert(paths[0], tmp_path / other, other) for other in format_names()]
    for path in paths:
        for output in OUTPUTS:
            assert all(map(np.array_equal, masks_in(path, output), wanted)), (path.name, output)


@pytest.mark.parametrize("make", [palette_mask, voc_file, deep_mask, bit_mask], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", format_names())
def test_masks_keep_mode_and_palette(tmp_path, name, make):
    sent = make(0)
    original = Image.open(io.BytesIO(sent.data)) if isinstance(sent, EncodedImage) else sent
    path = convert([(picture(0, size=(HEIGHT, WIDTH)), sent)], tmp_path / "one", name)
    for place in (path, *(convert(path, tmp_path / other, other) for other in format_names())):
        mask = open_reader(place)[0][1]
        assert mask.mode == original.mode, place.name
        if original.mode == "P":
            colours = original.getpalette()
            assert mask.getpalette()[: len(colours)] == colours
            assert open_reader(place).fields[1].palette[: len(colours)] == tuple(colours)


@pytest.mark.parametrize("make", [palette_mask, deep_mask, bit_mask], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FIXED)
def test_masks_are_resized_to_the_nearest_pixel(tmp_path, name, make):
    data = [(picture(n, size=(HEIGHT, WIDTH)), make(n)) for n in range(2)]
    reader = open_reader(convert(data, tmp_path, name, shape=(5, 7)), output="numpy")
    for (_, mask), (_, sent) in zip(reader, data, strict=True):
        assert np.array_equal(mask, np.asarray(sent.resize((7, 5), Image.Resampling.NEAREST)))


@pytest.mark.parametrize("make", [palette_mask, deep_mask, bit_mask], ids=lambda f: f.__name__)
def test_smaller_sides_take_the_nearest_pixel_too(tmp_path, make):
    data = [(picture(n, size=(HEIGHT, WIDTH)), make(n)) for n in range(2)]
    path = convert(data, tmp_path, "parquet", longer_side=7, encoding="jpeg")
    for (_, mask), (_, sent) in zip(open_reader(path), data, strict=True):
        assert mask.mode == sent.mode
        assert np.array_equal(np.asarray(mask), np.asarray(sent.resize((7, 5), Image.Resampling.NEAREST)))


@pytest.mark.parametrize("encoding", ["jpeg", "webp"])
@pytest.mark.parametrize("name", FLEXIBLE)
def test_masks_never_pass_a_lossy_codec(tmp_path, name, encoding):
    data = [(picture(0), palette_mask(0))]
    image, mask = open_reader(convert(data, tmp_path, name, encoding=encoding, quality=30), output="bytes")[0]
    assert Image.open(io.BytesIO(image)).format == encoding.upper()
    assert Image.open(io.BytesIO(mask)).format == "PNG"


def test_a_mask_files_bytes_are_stored_as_they_are(tmp_path):
    file = voc_file(3)
    for name in FLEXIBLE:
        path = convert([(picture(0), file)], tmp_path / name, name)
        assert open_reader(path, output="bytes")[0][1] == file.data


def test_mode_is_for_images_not_for_masks(tmp_path):
    for name in format_names():
        path = convert([(picture(0, size=(HEIGHT, WIDTH)), palette_mask(0))], tmp_path / name, name)
        image, mask = open_reader(path, mode="L")[0]
        assert (image.mode, mask.mode) == ("L", "P")
        assert np.array_equal(np.asarray(mask), np.asarray(palette_mask(0)))


@pytest.mark.parametrize("output", ["tensor", "tv_tensor"])
def test_types_of_masks_as_tensors(tmp_path, output):
    """uint16 tensors can be neither compared nor counted, so 16-bit ids are int32."""
    types = {"palette": torch.uint8, "16 bit": torch.int32, "1 bit": torch.bool}
    for kind, wanted in types.items():
        path = convert([(picture(0, size=(HEIGHT, WIDTH)), MASKS[kind](0))], tmp_path / kind, "memmap")
        mask = open_reader(path, output=output)[0][1]
        assert mask.dtype == wanted
        assert mask.shape == (HEIGHT, WIDTH)


def test_a_fixed_format_can_be_told_of_wider_masks(tmp_path):
    first, second = (Image.fromarray(np.full((4, 4), n, t)) for n, t in ((7, np.uint8), (70, np.uint16)))
    data = [(picture(0, size=(4, 4)), first), (picture(1, size=(4, 4)), second)]
    with pytest.raises(InputError, match=r"takes .u1 values, not uint16"):
        convert(data, tmp_path / "narrow", "memmap")
    path = convert(data, tmp_path / "wide", "memmap", fields=[Field("mask", "mask", dtype="uint16")])
    assert [m.max() for _, m in open_reader(path, output="numpy")] == [7, 70]


def test_what_no_mask_holds_is_refused():
    with pytest.raises(InputError, match="whole numbers from 0 to 65535"):
        to_ids(Image.fromarray(np.full((2, 2), 70_000, np.int32)))
    with pytest.raises(InputError, match="whole numbers from 0 to 65535"):
        to_ids(Image.fromarray(np.zeros((2, 2), np.float32)))
    with pytest.raises(InputError, match=r"an array of shape \(2,\) .* is no mask"):
        to_ids(np.zeros(2))
    with pytest.raises(ConfigError, match="is no PIL image; read it with output='numpy'"):
        ids_to_pil(np.zeros((2, 2, 7), np.int64))


@pytest.mark.parametrize("colours", [1, 2, 3, 4, 16, 17, 255, 256])
def test_ids_without_a_colour_survive_the_png(colours):
    """PNG stores few colours in few bits, and Pillow drops the rest of larger ids."""
    mask = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    mask.putpalette([7] * 3 * colours)
    assert np.array_equal(to_ids(encode_ids(mask)), np.arange(256).reshape(16, 16))
    assert mask.getpalette() == [7] * 3 * colours  # the user's own is not changed


@pytest.mark.skipif(not CAMVID.is_dir(), reason=f"needs the CamVid sample in {CAMVID}")
@pytest.mark.parametrize("name", format_names())
def test_every_camvid_pair_comes_back(tmp_path, name):
    from shardwright.folders.segmentation import ParallelFoldersSource

    files = [sorted((CAMVID / folder).iterdir()) for folder in ("train", "trainannot")]
    size = (90, 120)
    source = ParallelFoldersSource(CAMVID / "train", CAMVID / "trainannot")
    reader = open_reader(convert(source, tmp_path, name, batch_size=8), output="numpy")
    assert len(reader) == len(files[0]) == 60
    for (image, mask), *paths in zip(reader, *files, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(paths[0])))
        assert np.array_equal(mask, np.asarray(Image.open(paths[1])))
    if name not in FIXED:
        return
    small = convert(source, tmp_path / "small", name, shape=size, batch_size=8)
    for (_, mask), path in zip(open_reader(small, output="numpy"), files[1], strict=True):
        ids = np.asarray(Image.open(path))  # 360 x 480: every fourth pixel, from the middle of four
        assert np.array_equal(mask, ids[2::4, 2::4])


# --- image and mask move together ---------------------------------------------------------


def coordinates(height=40, width=50):
    """An image whose pixels are their own row and column, and a mask that holds both."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows + columns], 2).astype(np.uint8)
    return image, (rows * 256 + columns).astype(np.uint16)


@pytest.mark.parametrize("as_dict", [False, True], ids=["tuple", "dict"])
@pytest.mark.parametrize("name", format_names())
def test_random_crops_and_flips_keep_image_and_mask_aligned(tmp_path, name, as_dict):
    image, mask = coordinates()
    sample = {"image": Image.fromarray(image), "mask": mask} if as_dict else (Image.fromarray(image), mask)
    moves = v2.Compose([v2.RandomCrop((17, 19)), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])
    reader = open_reader(convert([sample] * 8, tmp_path, name), output="tv_tensor", transforms=moves)
    torch.manual_seed(0)
    seen = set()
    for found in list(reader) + list(reader):
        moved, ids = found.values() if as_dict else found
        assert isinstance(moved, tv_tensors.Image)
        assert isinstance(ids, tv_tensors.Mask)
        assert moved.shape[1:] == ids.shape == (17, 19)
        assert torch.equal(moved[0].int() * 256 + moved[1].int(), ids)
        seen.add((int(ids[0, 0]), int(ids[-1, -1])))
    assert len(seen) > 8  # they were moved, and not all alike


def test_aligned_through_worker_processes_and_a_resized_crop(tmp_path):
    image, _ = coordinates()
    ids = np.where(image[:, :, 1] < 25, 3, 200).astype(np.uint8)  # which half
    halves = np.where(ids[:, :, None] == 3, 0, 255).astype(np.uint8).repeat(3, 2)
    moves = v2.Compose([v2.RandomResizedCrop(16, scale=(0.3, 1)), v2.RandomHorizontalFlip()])
    path = convert([(Image.fromarray(halves), ids)] * 12, tmp_path, "memmap")
    loader = DataLoader(open_reader(path, output="tv_tensor", transforms=moves), batch_size=4, num_workers=2)
    for images, masks in loader:
        assert set(masks.unique().tolist()) <= {3, 200}
        same = (images[:, 0] > 127) == (masks == 200)
        assert (same.float().mean((1, 2)) >= 14 / 16).all()  # smoothed and nearest edges lie a pixel apart


def test_boxes_move_with_their_image(tmp_path):
    image = np.zeros((40, 50, 3), np.uint8)
    image[10:20, 5:25] = 255
    sample = {"image": Image.fromarray(image), "boxes": np.array([[5, 10, 25, 20]], np.float32)}
    flip = v2.RandomHorizontalFlip(p=1.0)
    path = convert([sample], tmp_path, "parquet")
    found = open_reader(path, output="tv_tensor", transforms=flip)[0]
    assert isinstance(found["boxes"], tv_tensors.BoundingBoxes)
    assert found["boxes"].canvas_size == (40, 50)
    x0, y0, x1, y1 = found["boxes"][0].int().tolist()
    assert (found["image"][:, y0:y1, x0:x1] == 255).all()
    assert found["image"].sum() == 3 * 255 * (x1 - x0) * (y1 - y0)


@pytest.mark.parametrize("box_format", ["XYXY", "XYWH", "CXCYWH"])
def test_torchvisions_tensors_are_stored_as_what_they_are(tmp_path, box_format):
    boxes = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format=box_format, canvas_size=(6, 7))
    sample = {
        "photo": tv_tensors.Image(torch.randint(0, 256, (3, 6, 7), dtype=torch.uint8)),
        "ids": tv_tensors.Mask(torch.randint(0, 9, (6, 7), dtype=torch.uint8)),
        "where": boxes,
    }
    reader = open_reader(convert([sample], tmp_path, "tar"), output="tv_tensor")
    assert [f.kind for f in reader.fields] == ["image", "mask", "array"]
    found = reader[0]
    assert all(type(found[name]) is type(sent) and torch.equal(found[name], sent) for name, sent in sample.items())
    assert found["where"].format.name == box_format
    plain = open_reader(tmp_path, output="tv_tensor", columns=["where"])[0]  # no image, so no canvas
    assert type(plain["where"]) is torch.Tensor


# --- detection, text, numbers, arrays -----------------------------------------------------


def detection(number, boxes):
    """A sample with a COCO target of `boxes` boxes, and all that may come with it."""
    rng = np.random.default_rng(number)
    found = rng.random((boxes, 4)).astype(np.float32) * 100
    return {
        "image": picture(number, size=(8 + number, 9)),
        "target": {
            "image_id": 2**60 + number,
            "annotations": [{"bbox": box.tolist(), "category_id": n, "iscrowd": False} for n, box in enumerate(found)],
        },
        "boxes": found,
        "caption": ["", "naïve café 日本 🚲", "a\nb\t\0c"][number],
        "spectrum": rng.standard_normal((1000, 37)).astype(np.float32),
        "dose": [math.nan, -0.0, math.inf][number],
        "identity": [2**53 + 1, -(2**63), 2**63 - 1][number],
        "blob": [b"", bytes(range(256)), b"\0"][number],
        "thumbnail": picture(number + 10, "L", (3, 3)),
    }


def same(sent, found):
    if isinstance(sent, Image.Image):
        return np.array_equal(np.asarray(sent), np.asarray(found))
    if isinstance(sent, np.ndarray):
        return sent.dtype == found.dtype and sent.tobytes() == found.tobytes() and sent.shape == found.shape
    if isinstance(sent, float):
        return np.float64(sent).tobytes() == np.float64(found).tobytes()
    return type(sent) is type(found) and sent == found


@pytest.mark.parametrize("name", FLEXIBLE)
def test_detection_targets_and_all_else_come_back_exactly(tmp_path, name):
    data = [detection(n, boxes) for n, boxes in enumerate((0, 1, 100))]
    path = convert(data, tmp_path / "one", name)
    for place in (path, *(convert(path, tmp_path / other, other) for other in FLEXIBLE)):
        reader = open_reader(place)
        for sent, found in zip(data, reader, strict=True):
            assert list(sent) == list(found)
            for key, value in sent.items():
                assert same(value, found[key]), (place.name, key)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_formats_take_what_has_one_size(tmp_path, name):
    wanted = ("spectrum", "dose", "identity")
    data = [{k: detection(n, 0)[k] for k in wanted} | {"boxes": np.full((2, 4), n, "<f8")} for n in range(3)]
    path = convert(data, tmp_path / "one", name)
    for place in (path, *(convert(path, tmp_path / other, other) for other in format_names())):
        for sent, found in zip(data, open_reader(place), strict=True):
            assert all(same(value, found[key]) for key, value in sent.items()), place.name
    with pytest.raises(ConfigError, match=r"'caption' \(text\) .* choose parquet, pyarrow_ipc or tar"):
        convert([{"caption": "a"}], tmp_path / "text", name)
    with pytest.raises(InputError, match="values of different sizes need fields="):
        convert([{"boxes": np.zeros((n, 4))} for n in (1, 2)], tmp_path / "boxes", name)


def test_numbers_in_a_tar_are_json(tmp_path):
    import tarfile

    convert([{"dose": value} for value in (math.nan, math.inf, 0.1)], tmp_path, "tar")
    with tarfile.open(next((tmp_path / "data").iterdir())) as tar:
        found = [json.load(tar.extractfile(member)) for member in tar]
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, 0.1]


def test_columns_read_only_what_is_asked_for(tmp_path):
    data = [detection(n, 1) for n in range(3)]
    path = convert(data, tmp_path, "parquet")
    assert open_reader(path, columns=["caption", "dose"])[1] == {"caption": data[1]["caption"], "dose": -0.0}
    with pytest.raises(ConfigError, match="columns='nothing' is unknown"):
        open_reader(path, columns=["nothing"])


def test_numpy_scalars_and_booleans(tmp_path):
    sample = {"a": np.bool_(True), "b": np.float32(0.1), "c": np.uint64(2**63 - 1), "d": torch.tensor(3), "e": False}
    found = open_reader(convert([sample], tmp_path, "tar"))[0]
    assert found == {"a": 1, "b": float(np.float32(0.1)), "c": 2**63 - 1, "d": 3, "e": 0}
    with pytest.raises(InputError, match="from -9223372036854775808 to"):
        convert([{"a": 2**63}], tmp_path / "large", "tar")


@pytest.mark.parametrize("value", [{1: "a"}, [{"a": {2.5: 0}}], {"a": [{None: 1}]}])
def test_keys_that_json_would_change_are_refused(tmp_path, value):
    with pytest.raises(InputError, match="JSON has only strings as keys"):
        convert([{"meta": value}], tmp_path, "tar")


def test_values_that_nothing_stores_are_refused(tmp_path):
    for value, message in ((None, "type NoneType cannot be stored"), ({"a": math.nan}, "not JSON")):
        with pytest.raises(InputError, match=message):
            convert([{"image": picture(0), "x": value}], tmp_path / str(message)[:4], "tar")


# --- the fields themselves ----------------------------------------------------------------


def test_fields_are_inferred():
    box = np.zeros((3, 4), np.float32)
    assert infer_field("boxes", box) == Field("boxes", "array", box_format="XYXY")
    assert infer_field("other", box) == Field("other", "array", "<f4", (3, 4))
    assert infer_field("left_mask", np.zeros((3, 4), np.uint8)).kind == "mask"
    assert infer_field("left", picture(0)).kind == "image"


def test_box_format_is_checked_and_kept():
    field = Field("boxes", "array", box_format="CXCYWH")
    assert Field.from_json(field.to_json()) == field
    for kind, box_format in (("array", "corners"), ("json", "XYXY")):
        with pytest.raises(ConfigError, match="box_format="):
            Field("boxes", kind, box_format=box_format)


def test_names_of_a_masks_ids_are_the_classes(tmp_path):
    data = [(picture(0, size=(4, 4)), Image.fromarray(np.zeros((4, 4), np.uint8)))]
    names = Field("mask", "mask", names=("sky", "road"))
    for name in ("memmap", "tar"):
        path = convert(data, tmp_path / name, name, fields=[names])
        again = convert(path, tmp_path / f"{name}2", "parquet")
        assert open_reader(path).classes == open_reader(again).classes == ["sky", "road"]


def test_hdf5_keeps_16_bit_masks_as_they_are(tmp_path):
    data = [(picture(0, size=(HEIGHT, WIDTH)), deep_mask(0))]
    convert(data, tmp_path, "hdf5", compression="gzip")
    with h5py.File(next((tmp_path / "data").iterdir())) as file:
        assert np.array_equal(file["mask"][0], np.asarray(deep_mask(0)))
    assert np.array_equal(open_reader(tmp_path, output="numpy")[0][1], np.asarray(deep_mask(0)))


def test_gzip_takes_values_without_a_byte_and_shards_without_a_sample(tmp_path):
    data = [(picture(n, size=(4, 4)), n, np.zeros((0, 4), np.float32)) for n in range(4)]
    convert(data, tmp_path / "empty", "hdf5", compression="gzip")
    assert open_reader(tmp_path / "empty", output="numpy")[3][2].shape == (0, 4)

    data[:2] = [(None, 0)] * 2
    convert(data, tmp_path / "skipped", "hdf5", compression="gzip", on_error="skip", images_per_file=2)
    reader = open_reader(tmp_path / "skipped", output="numpy")
    assert [shard.num_samples for shard in reader.manifest.shards] == [0, 2]
    assert [sample[1] for sample in reader] == [2, 3]


def test_a_tensor_that_wants_gradients_is_stored_as_its_numbers(tmp_path):
    data = [(picture(n, size=(4, 4)), torch.full((3,), float(n), requires_grad=True)) for n in range(2)]
    for name in ("memmap", "parquet"):
        reader = open_reader(convert(data, tmp_path / name, name), output="numpy")
        assert reader[1][1].tolist() == [1.0, 1.0, 1.0]
