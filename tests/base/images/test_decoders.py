"""The choice of the JPEG decoder."""

import io
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from shardwright.base import images
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.images import EncodedImage
from shardwright.pyarrow_ipc.converter import IpcConverter
from shardwright.pyarrow_ipc.reader import IpcReader
from shardwright.training.loader import ThreadedLoader
from shardwright.training.transforms import EvalTransform


def jpeg(mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((48, 40)).convert(mode).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def calls(monkeypatch):
    """A stand-in for torchcodec: it says what it was asked, and decodes as Pillow does."""
    found = []

    def decode_jpeg(data, mode):
        found.append(mode)
        if data.endswith(b"broken"):
            raise RuntimeError("Image is incomplete or truncated.")
        array = np.array(Image.open(io.BytesIO(data)))
        return torch.from_numpy(array if array.ndim == 3 else array[:, :, None]).permute(2, 0, 1)

    module = types.ModuleType("torchcodec.decoders")
    module.decode_jpeg = decode_jpeg
    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)
    return found


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("decoder", ["pillow", "torchcodec"])
def test_every_exact_decoder_gives_the_same_pixels(calls, decoder, mode):
    data = jpeg(mode)
    exact = images.decode(data)
    assert (images.decode(data, decoder=decoder) == exact).all()
    assert (np.asarray(images.decode_pil(data, decoder=decoder)) == exact).all()
    assert calls == ([mode if mode == "RGB" else "GRAY"] * 2 if decoder == "torchcodec" else [])


def test_the_fast_decoder_is_close():
    data = jpeg()
    assert 0 < np.abs(images.decode(data, decoder="fast").astype(int) - images.decode(data)).mean() < 10


def test_damage_is_named_by_torchcodec_too(calls):
    with pytest.raises(InputError, match="truncated"):
        images.decode(jpeg() + b"broken", decoder="torchcodec")


def test_a_decoder_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(ConfigError, match="pip install torchcodec"):
        images.decode(jpeg(), decoder="torchcodec")


def test_an_unknown_decoder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="decoder='turbo'"):
        images.decode(jpeg(), decoder="turbo")


def test_a_reader_and_its_loader_use_the_decoder(calls, tmp_path):
    IpcConverter([(EncodedImage(jpeg()), 0)] * 3, tmp_path / "d", num_workers=0).convert()
    reader = IpcReader(tmp_path / "d", output="numpy", decoder="torchcodec")
    assert (reader[0][0] == images.decode(jpeg())).all()
    transform = EvalTransform(40, resize=40, dtype=torch.uint8)
    [(other, _)] = ThreadedLoader(reader, 3, transform=transform, num_threads=0)
    assert calls == ["RGB"] * 4
    batches = {
        decoder: next(iter(ThreadedLoader(IpcReader(tmp_path / "d", decoder=decoder), 3, transform=transform)))[0]
        for decoder in ("auto", "fast", "pillow")
    }
    assert torch.equal(other, batches["auto"])
    assert torch.equal(other, batches["pillow"])
    assert not torch.equal(other, batches["fast"])
    with pytest.raises(ConfigError, match="decoder='turbo'"):
        IpcReader(tmp_path / "d", decoder="turbo")
