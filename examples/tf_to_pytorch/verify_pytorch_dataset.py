"""Check that a converted array is ready to train on with PyTorch.

    python -m examples.tf_to_pytorch.verify_pytorch_dataset config_pytorch.json [--model NAME]

Looks at the order of the axes, dtype, labels and values, trains one step of a small network on a batch, runs the named
models, and measures the memory that reading takes. The exit code is 0 only if everything holds. (It is not called
test_..., which pytest would collect.)
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from shardwright import ShardwrightError
from shardwright.arrays.files import open_rows
from shardwright.base.storage.strict_json import parse_json

READ_BATCHES = 50  # how many random batches are read while memory is measured
MEMORY_LIMIT = 200 * 2**20  # bytes that reading them may take, beside the batches themselves


class ArrayDataset(Dataset[tuple[torch.Tensor, int]]):
    """The images and labels that a config_pytorch.json points at, as tensors (C, H, W) and numbers.

    Parameters
    ----------
    config : path
        The file; paths in it are relative to its folder.

    Raises
    ------
    InputError
        If a file is missing, cut or not what the config says.
    """

    def __init__(self, config: str | Path) -> None:
        self.config = read_config(Path(config))
        folder = Path(config).absolute().parent
        self.images = open_rows(folder / self.config["images"])
        labels = self.config["labels"]
        if labels is None:
            self.labels = np.full(len(self.images), -1)
        else:
            rows = open_rows(folder / labels)
            self.labels = rows.read(0, len(rows))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.images.read(index, index + 1)[0]), int(self.labels[index])


def read_config(path: Path) -> dict[str, Any]:
    """Read a config_pytorch.json.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        values = parse_json(path.read_bytes(), str(path))
    except ValueError as error:
        raise ValueError(f"{path} is no config_pytorch.json: {error}") from error
    needed = {"images", "labels", "num_classes", "num_samples", "shape", "dtype", "loader"}
    if not isinstance(values, dict) or not needed <= values.keys():
        raise ValueError(f"{path} is no config_pytorch.json: it needs the entries {', '.join(sorted(needed))}")
    return values


def check_format(data: ArrayDataset) -> str:
    """Hold shape and dtype of the file against the config."""
    shape, dtype = data.images.shape, data.images.dtype
    _demand(len(shape) == 4, f"the shape is {shape}, not (N, C, H, W)")
    _demand(list(shape) == data.config["shape"], f"the shape is {shape}, the config says {data.config['shape']}")
    _demand(dtype.name == data.config["dtype"], f"the dtype is {dtype}, the config says {data.config['dtype']}")
    _demand(shape[1] <= min(shape[2:]), f"{shape[1]} channels of {shape[2:]} look like N, H, W, C: convert it")
    data[0]  # an error if PyTorch does not have this dtype
    return f"(N, C, H, W) = {shape}, {dtype}"


def check_labels(data: ArrayDataset) -> str:
    """Check number and range of the labels."""
    classes = data.config["num_classes"]
    if classes is None:
        return "none"
    _demand(len(data.labels) == len(data), f"there are {len(data.labels)} labels for {len(data)} images")
    low, high = int(data.labels.min()), int(data.labels.max())
    _demand(low >= 0 and high < classes, f"labels run from {low} to {high}, there are {classes} classes")
    found = len(np.unique(data.labels))
    return f"{low} to {high}, {found} of {classes} classes occur"


def check_values(data: ArrayDataset) -> str:
    """Look at the values of some images: numbers, and not all the same."""
    chosen = np.random.default_rng(0).permutation(len(data))[:100]
    images = torch.stack([data[int(i)][0] for i in chosen]).double()
    _demand(bool(torch.isfinite(images).all()), "there are values that are not finite")
    low, high = images.min().item(), images.max().item()
    _demand(low < high, f"all values of {len(chosen)} images are {low}")
    return f"{low:g} to {high:g}, mean {images.mean().item():.4g} (of {len(chosen)} images)"


def check_training(data: ArrayDataset) -> str:
    """Train one step: forward and backward through a small network."""
    torch.manual_seed(0)
    loader = DataLoader(data, batch_size=min(32, len(data)), shuffle=True)
    images, labels = next(iter(loader))
    classes = max(2, data.config["num_classes"] or 2)
    convolution = nn.Conv2d(images.shape[1], 8, 3, padding=1)
    model = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, classes))
    inputs = images.float() / (255 if data.images.dtype == np.uint8 else 1)
    output = model(inputs)
    loss = nn.functional.cross_entropy(output, labels.clamp(min=0))
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    finite = math.isfinite(loss.item()) and all(bool(torch.isfinite(g).all()) for g in gradients)
    _demand(finite, f"the loss is {loss.item()}, or a gradient is not finite: scale the values")
    return f"batch {tuple(images.shape)} -> {tuple(output.shape)}, loss {loss.item():.3f}, gradients finite"


def check_model(name: str, data: ArrayDataset) -> str:
    """Run a batch through a model of the single-pulse project, forward and backward."""
    from examples.single_pulse.training_models import make_model

    _, channels, height, width = data.images.shape
    _demand(channels == 1 and height == width, f"the models take (N, 1, R, R), the images are {data.images.shape}")
    model = make_model(name, height)
    images, labels = next(iter(DataLoader(data, batch_size=min(4, len(data)))))
    output = model(images.float() / 255)
    nn.functional.cross_entropy(output, labels.clamp(min=0)).backward()
    count = sum(p.numel() for p in model.parameters())
    return f"{name}: batch {tuple(images.shape)} -> {tuple(output.shape)}, {count:,} parameters"


def check_memory(data: ArrayDataset) -> str:
    """Measure how much memory it takes to read many random images."""
    size = data.config["loader"]["batch_size"]
    order = np.random.default_rng(1).integers(0, len(data), (READ_BATCHES, size))
    before, peak = resident(), 0
    if before is None:
        return "not measured: this system does not say"
    for batch in order:
        images = torch.stack([data[int(i)][0] for i in batch])
        peak = max(peak, (resident() or 0) - before)
    allowed = MEMORY_LIMIT + 4 * images.numel() * images.element_size()
    _demand(peak <= allowed, f"reading took {peak:,} bytes, more than {allowed:,}")
    total = len(data) * data.images.row_bytes
    return f"{peak / 2**20:.0f} MiB for {order.size} random images of {total / 2**20:,.0f} MiB"


def resident() -> int | None:
    """Return the memory of this process in bytes, ``None`` where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


CHECKS: dict[str, Callable[[ArrayDataset], str]] = {
    "format": check_format,
    "labels": check_labels,
    "values": check_values,
    "training": check_training,
    "memory": check_memory,
}


def verify(config: Path, models: Sequence[str] = ()) -> bool:
    """Run all checks, print a line for each, and tell whether all hold."""
    print(config)
    try:
        data = ArrayDataset(config)
    except (ShardwrightError, ValueError, OSError) as error:
        print(f"  FAIL  open      {error}")
        return False
    failed = False
    checks = [*CHECKS.items(), *(("model", partial(check_model, model)) for model in models)]
    for name, check in checks:
        try:
            print(f"  ok    {name:9} {check(data)}")
        # What PyTorch and NumPy raise for data that does not fit; a label may have no class, or no image.
        except (ShardwrightError, ValueError, TypeError, RuntimeError, IndexError) as error:
            print(f"  FAIL  {name:9} {error}")
            failed = True
    print("NOT ready to train" if failed else "ready to train")
    return not failed


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: ready to train, 1: not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG.json", type=Path)
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="run a batch through it, too")
    options = parser.parse_args(arguments)
    return 0 if verify(options.config, options.model) else 1


if __name__ == "__main__":
    sys.exit(main())
