"""Train a small network on a converted split, of any format.

Usage::

    python train.py caltech256_shards/parquet --epochs 3
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision import transforms

from shardwright import ShardwrightError, open_reader


def small_network(num_classes: int) -> nn.Module:
    """Return a network of three convolutions, for images of any size."""

    def block(channels_in: int, channels_out: int) -> list[nn.Module]:
        return [
            nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        ]

    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, num_classes)]
    return nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 128), *head)


def train(path: Path, epochs: int = 1, batch_size: int = 16, image_size: int = 64, num_workers: int = 2) -> float:
    """Train on 80 % of a split, print loss and accuracy per epoch, and return the last accuracy."""
    to_tensor = transforms.Compose([transforms.Resize((image_size, image_size)), transforms.ToTensor()])
    reader = open_reader(path, transform=to_tensor, mode="RGB")
    torch.manual_seed(0)
    train_set, test_set = random_split(reader, [0.8, 0.2])
    train_loader = DataLoader(train_set, batch_size, shuffle=True, num_workers=num_workers, drop_last=True)
    test_loader = DataLoader(test_set, batch_size, num_workers=num_workers)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = small_network(len(reader.classes)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    accuracy = 0.0
    for epoch in range(1, epochs + 1):
        loss = run_epoch(network, optimizer, train_loader, device)
        accuracy = measure(network, test_loader, device)
        print(f"epoch {epoch}: loss {loss:.3f}, accuracy {accuracy:.1%} on {len(test_set)} images held out")
    return accuracy


def run_epoch(network: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader[Any], device: str) -> float:
    """Train on every batch once and return the mean loss."""
    network.train()
    total = 0.0
    for images, labels in loader:
        loss = nn.functional.cross_entropy(network(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / max(1, len(loader))


@torch.no_grad()
def measure(network: nn.Module, loader: DataLoader[Any], device: str) -> float:
    """Return the share of images that the network names rightly."""
    network.eval()
    right = total = 0
    for images, labels in loader:
        right += int((network(images.to(device)).argmax(1).cpu() == labels).sum())
        total += len(labels)
    return right / max(1, total)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="folder of a converted split, for example caltech256_shards/parquet")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=64, help="side in pixels (default: 64)")
    parser.add_argument("--num-workers", type=int, default=2)
    try:
        train(**vars(parser.parse_args()))
    except ShardwrightError as error:
        raise SystemExit(str(error)) from error
