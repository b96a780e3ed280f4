"""The example that trains on dense labels: a small run from end to end, on generated streets."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shardwright.base import formats

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dense_labels"


@pytest.fixture
def example(monkeypatch):
    """The script as a module, imported as it is when it is run: from its own folder."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    before = dict(formats._FORMATS)
    yield importlib.import_module("train_camvid")
    formats._FORMATS.clear()
    formats._FORMATS.update(before)
    for name in ("train_camvid", "dense_labels"):
        sys.modules.pop(name, None)


def street(number, height=48, width=64):
    """Sky, building and road, each in its own colour, the horizon somewhere, and a border without label."""
    rng = np.random.default_rng(number)
    ids = np.zeros((height, width), np.uint8)
    horizon = int(rng.integers(height // 4, height // 2))
    ids[horizon:] = 1
    ids[horizon + height // 4 :] = 3
    ids[:, :2] = 11
    colours = np.array([[150, 190, 250], [130, 60, 40], [0, 0, 0], [90, 90, 90]])
    image = colours[np.minimum(ids, 3)] + rng.normal(0, 10, (height, width, 3))
    return Image.fromarray(image.clip(0, 255).astype(np.uint8)), Image.fromarray(ids)


def write_streets(root, split, count):
    for number in range(count):
        for folder, picture in zip((split, f"{split}annot"), street(number), strict=True):
            (root / folder).mkdir(parents=True, exist_ok=True)
            picture.save(root / folder / f"{number:02d}.png")


def test_camvids_layout(example, tmp_path):
    write_streets(tmp_path, "train", 3)
    write_streets(tmp_path, "val", 1)
    assert len(example.pairs_of(tmp_path, "train")) == 3
    source = example.pairs_of(tmp_path, "val")
    assert len(source) == 1
    assert source.fields["mask"].names == example.CAMVID_CLASSES
    assert example.CAMVID_CLASSES[11] == "unlabelled"


def test_the_network_learns_more_than_a_constant(example, tmp_path, capsys):
    write_streets(tmp_path / "CamVid", "train", 20)
    losses, scores, constant = example.train(tmp_path / "CamVid", tmp_path / "out", epochs=6, size=48)
    assert losses[-1] < losses[0] / 2
    assert scores[-1] > constant
    printed = capsys.readouterr().out
    assert "16 pairs to learn from, 4 held out" in printed
    assert printed.count("mean IoU") == 7
    with Image.open(tmp_path / "out" / "predictions.png") as image:
        assert image.size == (3 * 64, 4 * 48)
        pixels = np.asarray(image)
    truth = pixels[:48, 64:128]
    assert {tuple(c) for c in truth.reshape(-1, 3).tolist()} == {
        tuple(c) for c in example.COLOURS[[0, 1, 3, 11]].tolist()
    }


def test_the_full_data_sets_own_validation_pairs_are_held_out(example, tmp_path):
    write_streets(tmp_path / "CamVid", "train", 6)
    write_streets(tmp_path / "CamVid", "val", 2)
    train, held_out = example.open_splits(tmp_path / "CamVid", tmp_path / "out", (48, 64), (32, 40))
    assert (len(train), len(held_out)) == (6, 2)
    image, mask = train[0]
    assert image.shape == (3, 32, 40)
    assert mask.shape == (32, 40)
    assert (image.dtype, mask.dtype) == (torch.float32, torch.int64)
    assert held_out[1][0].shape == (3, 48, 64)


def test_measures(example):
    truth = torch.tensor([0, 0, 0, 1, 11])
    counts = example.count_pairs(truth, torch.tensor([0, 0, 1, 1, 5]))
    assert counts.sum() == 4  # what has no label does not count
    assert example.mean_iou(counts) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert example.best_constant(counts) == pytest.approx((3 / 4 + 0) / 2)
