"""What the header of a file says: kind, size, mode, whatever its name."""

import io

import numpy as np
import pytest
from PIL import Image

from shardwright.base.errors import InputError
from shardwright.base.images import ImageInfo, decode, probe
from tests.base.images.pictures import SOURCES, chunk, every_source, png


@every_source
def test_probe_says_what_pillow_says(name):
    """Fault 6: the content counts, there is no file name to be misled by."""
    data, mode = SOURCES[name]
    width, height = Image.open(io.BytesIO(data)).size
    assert probe(data) == ImageInfo(name.split()[0], height, width, mode)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_buffers_are_taken(kind):
    data = SOURCES["jpg"][0]
    assert probe(kind(data)) == probe(data)
    np.testing.assert_array_equal(decode(kind(data)), decode(data))


def test_png_modes_are_those_of_pillow():
    made = {}
    for bits in (1, 2, 4, 8, 16):
        for colour in (0, 2, 3, 4, 6):
            row = bytes(1 + bits)  # 8 pixels of one sample; more samples need more
            channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
            pixels = bytes(1) + row[1:] * channels
            palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
            data = png(1, 8, bits=bits, colour=colour, extra=palette, pixels=pixels)
            try:
                expected = Image.open(io.BytesIO(data)).mode
            except OSError:
                with pytest.raises(InputError, match="damaged"):
                    probe(data)
                continue
            assert probe(data).mode == expected
            made[bits, colour] = expected
    assert len(made) == 15
