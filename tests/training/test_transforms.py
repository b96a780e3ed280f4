"""The fused transforms: torchvision's windows, torchvision's pixels, any input."""

import inspect
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.images.decode import decode
from shardwright.base.images.partial import crop_header, decode_rows
from shardwright.training.crops import CROP_DRAWS, random_windows, shrink_factor, shrunk_window, uniforms
from shardwright.training.pixels import Workspace
from shardwright.training.transforms import IMAGENET_MEAN, IMAGENET_STD, EvalTransform, FusedTransform, TrainTransform

RATIO, SCALE = (3 / 4, 4 / 3), (0.08, 1.0)


def photo(height, width):
    """Smooth colours with some noise, so that neither resizing nor JPEG is trivial."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([y * 200 / height, x * 200 / width, (x + y) % 200], axis=2)
    return (smooth + np.random.default_rng(0).integers(0, 50, smooth.shape)).astype(np.uint8)


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **({"quality": 90} | options))
    return file.getvalue()


def applied(transform, pixels, window, flip):
    out = torch.empty((*transform.size, 3), dtype=transform.dtype)
    transform.apply(pixels, window, flip, out, Workspace())
    return out.permute(2, 0, 1)


def normalized(pixels, dtype=torch.float32):
    """As torchvision does it."""
    tensor = functional.to_dtype(pixels, torch.float32, scale=True)
    return functional.normalize(tensor, IMAGENET_MEAN, IMAGENET_STD).to(dtype)


# --- random numbers and windows -----------------------------------------------------------


def draw(count, columns=4, **changes):
    where = {"seed": 3, "epoch": 0, "positions": np.arange(count), "samples": np.arange(count)} | changes
    return uniforms(**where, count=columns)


def test_numbers_are_uniform_and_independent():
    numbers = draw(20_000)
    assert ((numbers >= 0) & (numbers < 1)).all()
    counts = np.apply_along_axis(lambda c: np.histogram(c, 20, (0, 1))[0], 0, numbers)
    chi2 = ((counts - 1000) ** 2 / 1000).sum(axis=0)
    assert (chi2 < 50).all()  # 19 degrees of freedom: one in 10,000 would be above
    assert np.abs(np.corrcoef(numbers, rowvar=False) - np.eye(4)).max() < 0.03
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.03


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"epoch": 1}, {"positions": np.arange(9) + 9}, {"samples": np.arange(9) + 9}]
)
def test_numbers_depend_on_everything_that_tells_a_draw_apart(change):
    assert not np.isclose(draw(9), draw(9, **change)).any()


def test_numbers_do_not_depend_on_how_the_samples_are_grouped():
    parts = [draw(3, positions=np.arange(i, i + 3), samples=np.arange(i, i + 3)) for i in (0, 3, 6)]
    assert (np.concatenate(parts) == draw(9)).all()


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 - 1])
def test_any_seed_is_taken(seed):
    assert draw(2, seed=seed).shape == (2, 4)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (60, 400), (500, 90), (8, 8), (1, 300)])
def test_windows_have_torchvisions_distribution(height, width):
    count = 4000
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(224)
    like = [functional_window(crop, height, width) for _ in range(count)]
    ours = random_windows(np.tile([height, width], (count, 1)), draw(count, CROP_DRAWS), SCALE, RATIO)
    for column in range(4):
        assert distance(ours[:, column], np.array(like)[:, column]) < 0.05  # 0.04 comes once in 300 times


def functional_window(crop, height, width):
    found = crop.make_params([torch.empty(3, height, width)])
    return found["top"], found["left"], found["height"], found["width"]


def distance(a, b):
    """Kolmogorov and Smirnov's: the largest difference of the two distribution functions."""
    points = np.union1d(a, b)
    below = [np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (a, b)]
    return np.abs(below[0] - below[1]).max()


def test_windows_follow_torchvisions_formula():
    # With the same numbers in the same order, up to torchvision's float32, the same windows.
    rng = np.random.default_rng(1)
    for height, width in [(333, 500), (50, 700), (224, 224)]:
        numbers = rng.random((50, CROP_DRAWS))
        ours = random_windows(np.tile([height, width], (50, 1)), numbers, SCALE, RATIO)
        assert ours.tolist() == [reference_window(height, width, row) for row in numbers]


def reference_window(height, width, numbers):
    """torchvision's loop, fed with given numbers."""
    for area_draw, ratio_draw in zip(numbers[:10], numbers[10:20], strict=True):
        area = height * width * (SCALE[0] + (SCALE[1] - SCALE[0]) * area_draw)
        ratio = np.exp(np.log(RATIO[0]) + (np.log(RATIO[1]) - np.log(RATIO[0])) * ratio_draw)
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return [int(numbers[20] * (height - h + 1)), int(numbers[21] * (width - w + 1)), h, w]
    if width / height > RATIO[1]:
        h, w = height, round(height * RATIO[1])
    else:
        h, w = round(width / RATIO[0]), width
    return [(height - h) // 2, (width - w) // 2, h, w]


def test_flips_come_as_often_as_asked():
    for probability in (0.0, 0.3, 1.0):
        transform = TrainTransform(flip=probability)
        found = transform.windows(np.tile([10, 10], (4000, 1)), draw(4000, transform.draws))
        assert abs(np.mean([flip for _, flip in found]) - probability) < 0.03


# --- pixels -------------------------------------------------------------------------------

WINDOWS = [(0, 0, 120, 160), (10, 20, 60, 50), (3, 0, 100, 160), (100, 140, 20, 20), (50, 60, 1, 1), (7, 9, 32, 32)]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_training_pixels_are_torchvisions(window, flip):
    pixels = photo(120, 160)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    like = functional.resized_crop(tensor, *window, size=[32, 32], antialias=True)
    like = functional.horizontal_flip(like) if flip else like
    ours = applied(TrainTransform(32, dtype=torch.uint8), pixels, window, flip)
    assert (ours.int() - like.int()).abs().max() <= 1
    torch.testing.assert_close(applied(TrainTransform(32), pixels, window, flip), normalized(ours), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(120, 160), (160, 120), (40, 40), (45, 300)])
def test_evaluation_pixels_are_torchvisions(shape):
    pixels = photo(*shape)
    like = v2.Compose([v2.Resize(40), v2.CenterCrop((32, 36))])(torch.from_numpy(pixels).permute(2, 0, 1))
    ours = EvalTransform((32, 36), resize=40, dtype=torch.uint8)(pixels)
    assert ours.shape == (3, 32, 36)
    assert (ours.int() - like.int()).abs().max() <= 1


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_every_float_type_is_normalized_alike(dtype, tolerance):
    pixels = photo(40, 40)
    plain = EvalTransform(32, resize=40, dtype=torch.uint8)(pixels)
    ours = EvalTransform(32, resize=40, dtype=dtype)(pixels)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.float(), normalized(plain), rtol=0, atol=tolerance)


def test_the_output_is_channels_last():
    assert TrainTransform(32)(photo(40, 50)).stride() == (1, 96, 3)


def test_one_image_of_any_kind_and_torchs_generator():
    pixels = photo(60, 80)
    transform, results = TrainTransform(32), []
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    for image in (pixels, Image.fromarray(pixels), tensor, png.getvalue()):
        torch.manual_seed(5)
        results.append(transform(image))
    assert all(torch.equal(r, results[0]) for r in results)
    assert not torch.equal(transform(pixels), results[0])


def test_gray_images_become_rgb():
    out = EvalTransform(8, resize=8, dtype=torch.uint8)(photo(8, 8)[:, :, 0])
    assert torch.equal(out[0], out[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainTransform(0), "size=0"),
        (lambda: TrainTransform((32, 32, 3)), "size="),
        (lambda: TrainTransform(scale=(1, 0.5)), "scale="),
        (lambda: TrainTransform(ratio=(0, 1)), "ratio="),
        (lambda: TrainTransform(flip=2), "flip=2"),
        (lambda: TrainTransform(dtype=torch.int64), "dtype=torch.int64"),
        (lambda: TrainTransform(std=(0, 1, 1)), "std="),
        (lambda: EvalTransform(224, resize=200), "resize=200"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("transform", [TrainTransform, EvalTransform])
def test_every_option_is_in_the_signature_and_has_one_default(transform):
    """What editors and help() show; an option that comes to the base comes to both."""
    shared = inspect.signature(FusedTransform).parameters
    own = inspect.signature(transform).parameters
    assert {name: own.get(name) for name in shared} == dict(shared)
    assert all(p.kind is p.KEYWORD_ONLY for p in own.values() if p.name != "size")
    made = transform(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), dtype=torch.uint8, scaled=True)
    assert (made.mean, made.std, made.dtype, made.scaled) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), torch.uint8, True)


# --- rows of a JPEG -----------------------------------------------------------------------

KINDS = {
    "4:2:0": {"subsampling": 2},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "restarts": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
}


def empty(shape):
    return np.empty(shape, np.uint8)


def rows_of(data, stop, **options):
    return decode_rows(data, crop_header(data), stop, empty, **options)


@pytest.mark.parametrize("kind", [*KINDS, "gray"])
@pytest.mark.parametrize("stop", [1, 15, 16, 17, 64, 90, 99, 100])
def test_rows_above_the_end_of_a_crop_are_exact(kind, stop):
    pixels = photo(100, 70)
    data = jpeg(pixels[:, :, 0]) if kind == "gray" else jpeg(pixels, **KINDS[kind])
    part = rows_of(data, stop)
    assert len(part) >= stop
    assert (part[:stop] == decode(data, "RGB")[:stop]).all()
    if kind != "progressive" and stop < 64:
        assert len(part) < 100


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("stop", [50, 203])
def test_a_shrunk_image_is_close_to_the_mean_of_its_pixels(shrink, stop):
    y, x = np.mgrid[0:203, 0:301]
    smooth = np.stack([y, x // 2, (x + y) // 3], axis=2).astype(np.uint8)
    data = jpeg(smooth, quality=100, subsampling=0)
    part = rows_of(data, stop, shrink=shrink)
    assert part.shape[1] == -(-301 // shrink)
    assert part.shape[0] >= -(-stop // shrink)
    height, width = 48 // shrink, 301 // shrink
    mean = smooth[: height * shrink, : width * shrink].reshape(height, shrink, width, shrink, 3).mean(axis=(1, 3))
    assert np.abs(part[:height, :width] - mean).max() <= 3


def test_shrinking_leaves_a_reserve():
    factors = [shrink_factor((0, 0, n, 2 * n), (32, 32)) for n in (32, 127, 128, 255, 256, 511, 512, 4000)]
    assert factors == [1, 1, 2, 2, 4, 4, 8, 8]
    assert shrunk_window((9, 5, 131, 130), 2) == (4, 2, 65, 65)


def test_the_fast_arithmetic_is_close():
    data = jpeg(photo(64, 64))
    fast = rows_of(data, 64, decoder="fast")
    assert 0 < np.abs(fast.astype(int) - decode(data, "RGB")).mean() < 12


def test_damage_above_the_end_of_the_crop_is_an_error():
    data = bytearray(jpeg(photo(200, 200)))
    header = crop_header(bytes(data))
    middle = len(data) // 4
    data[middle : middle + 2] = b"\xff\xd9"  # the image ends here
    with pytest.raises(InputError, match="truncated"):
        decode_rows(bytes(data), header, 150, empty)


@pytest.mark.parametrize("marker", [0xC4, 0xDB])
@pytest.mark.parametrize("damage", [0xD0, 0xD7, 0x01, 0x00])
def test_a_header_with_a_damaged_marker_gives_no_pixels_of_another_image(marker, damage):
    data = bytearray(jpeg(photo(100, 70)))
    data[data.index(bytes([0xFF, marker])) + 1] = damage
    data = bytes(data)
    assert crop_header(data) is None  # `decode` knows what such a file is


def test_sampling_factors_of_zero_are_an_error_of_ours():
    data = bytearray(jpeg(photo(100, 70)))
    at = crop_header(bytes(data)).at
    data[at + 7 : at + 15 : 3] = bytes(3)
    with pytest.raises(InputError):
        rows_of(bytes(data), 20)


def test_other_files_have_no_crop_header():
    png = io.BytesIO()
    Image.fromarray(photo(4, 4)).save(png, "PNG")
    cmyk = io.BytesIO()
    Image.fromarray(photo(16, 16)).convert("CMYK").save(cmyk, "JPEG")
    assert crop_header(png.getvalue()) is None
    assert crop_header(cmyk.getvalue()) is None
    assert crop_header(jpeg(photo(64, 64))[:-2]) is None  # truncated: `decode` says so
