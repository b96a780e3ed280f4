"""Decoding gives the pixels that Pillow gives, as stored and in another mode."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import ConfigError
from shardwright.base.images import decode, decode_pil, probe, resize
from tests.base.images.pictures import SOURCES, every_source, noise, photo, pillow, saved

REAL_IMAGES = Path(__file__).parents[4] / "shared" / "data" / "imagenet-sample"


@every_source
def test_decode_gives_the_pixels_of_pillow(name):
    """Fault 13 among others."""
    data, mode = SOURCES[name]
    array = decode(data)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    np.testing.assert_array_equal(array, pillow(data))
    image = decode_pil(data)
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image), array)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name, (_, own) in SOURCES.items()
        for mode in ("L", "RGB", "RGBA")
        # these have a rule other than Pillow's, and tests of their own
        if own != "I;16" and (own != "RGBA" or mode == "RGBA")
    ],
)
def test_decode_converts_as_pillow_where_pillow_is_right(name, mode):
    data = SOURCES[name][0]
    np.testing.assert_array_equal(decode(data, mode), pillow(data, mode))
    np.testing.assert_array_equal(np.asarray(decode_pil(data, mode)), pillow(data, mode))


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_adobe_inverted_cmyk_is_read_as_pillow_does(transform):
    """Fault 13: Photoshop stores CMYK inverted, as Pillow does when it writes."""
    data = bytearray(saved(Image.fromarray(photo()).convert("CMYK"), "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = transform
    data = bytes(data)
    assert probe(data).mode == "CMYK"
    np.testing.assert_array_equal(decode(data, "RGB"), pillow(data, "RGB"))
    if transform == 0:  # the colours that went in, neither inverted nor shifted
        assert np.abs(decode(data, "RGB").astype(int) - photo()).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_ignored_unless_asked_for(orientation):
    """Fault 12."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(photo(), "JPEG", exif=exif)
    np.testing.assert_array_equal(decode(data), pillow(data))
    turned = decode(data, exif="apply")
    transposes = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    image = Image.open(io.BytesIO(data))
    if orientation in transposes:
        image = image.transpose(Image.Transpose(transposes[orientation]))
    np.testing.assert_array_equal(turned, np.asarray(image))
    assert decode_pil(data, exif="apply").size == image.size
    with pytest.raises(ConfigError, match="choose one of 'ignore', 'apply'"):
        decode(data, exif="yes")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_only_the_first_frame_is_read_and_a_warning_says_so(kind):
    """Faults 19 and 20."""
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "green", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert probe(data).warning == "animated: only the first frame is read"
    red = decode(data, "RGB")[4, 4].astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 2  # WebP is lossy here


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 65500), (65500, 1)])
def test_extreme_shapes_work(kind, shape):
    """Fault 21."""
    data = saved(noise(*shape), kind)
    info = probe(data)
    assert (info.height, info.width) == shape
    np.testing.assert_array_equal(decode(data), pillow(data))
    assert resize(decode(data), (3, 5)).shape == (3, 5)


@pytest.mark.skipif(not REAL_IMAGES.is_dir(), reason=f"no real images in {REAL_IMAGES}")
def test_real_jpegs_decode_as_with_pillow():
    paths = sorted(REAL_IMAGES.glob("*/*"))[::10]
    assert len(paths) == 20
    for path in paths:
        data = path.read_bytes()
        np.testing.assert_array_equal(decode(data), pillow(data))
        np.testing.assert_array_equal(decode(data, "RGB"), pillow(data, "RGB"))
