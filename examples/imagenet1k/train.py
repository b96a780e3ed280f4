"""Train ResNet-18 on a converted split, on one process or on many, and go on after a stop.

The order of samples is one for all ranks (`GlobalSampler`), so any number of ranks trains on
the same global batches, and a run that was stopped goes on at the next batch, also with
another number of ranks. README.md beside this file has the commands.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18
from torchvision.transforms import v2

from shardwright import GlobalSampler, ShardwrightError, distributed, open_reader
from shardwright.training.distributed import local_rank


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="what convert.py wrote")
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--batch-size", type=int, default=256, help="of all ranks together (default: 256)")
    parser.add_argument("--image-size", type=int, default=224, metavar="PIXELS")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--num-workers", type=int, default=8, metavar="N", help="worker processes per rank")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoint.pt"), metavar="FILE")
    parser.add_argument("--save-every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--max-steps", type=int, metavar="N", help="stop after so many steps, counted over all runs")
    parser.add_argument("--step-log", type=Path, metavar="FILE", help="append a line of JSON per step: loss, samples")
    return parser.parse_args()


class Numbered(Dataset[Any]):
    """Samples together with their number in the split."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, indices: list[int]) -> list[tuple[Any, int, int]]:
        """Read a batch at once."""
        samples = self.samples.__getitems__(indices)
        return [(image, label, index) for (image, label), index in zip(samples, indices, strict=True)]


class Trainer:
    """The state of a training: network, optimizer, and the place in the order of samples."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.step, self.stopped_by = arguments, 0, 0
        if arguments.batch_size % dist.get_world_size():
            raise SystemExit(f"--batch-size {arguments.batch_size} cannot be shared by {dist.get_world_size()} ranks")
        on_gpu = dist.get_backend() == "nccl"
        self.device = torch.device(f"cuda:{local_rank() % torch.cuda.device_count()}" if on_gpu else "cpu")
        torch.manual_seed(0)
        self.reader = open_reader(arguments.path, transform=augmentation(arguments.image_size), mode="RGB")
        network = resnet18(num_classes=len(self.reader.classes)).to(self.device)
        self.network = DistributedDataParallel(network)
        self.optimizer = torch.optim.SGD(network.parameters(), arguments.learning_rate, 0.9, weight_decay=1e-4)
        self.sampler = GlobalSampler(self.reader, shuffle="block", window=65_536, uneven="drop", dist=True)
        if arguments.checkpoint.exists():
            self.load()

    def load(self) -> None:
        """Go on where the checkpoint was written."""
        state = torch.load(self.arguments.checkpoint, map_location=self.device, weights_only=True)
        self.network.module.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sampler.load_state_dict(state["sampler"])
        self.step = state["step"]

    def save(self, position: dict[str, Any]) -> None:
        """Write the checkpoint (rank 0), whole or not at all."""
        if dist.get_rank() == 0:
            state = {"network": self.network.module.state_dict(), "optimizer": self.optimizer.state_dict()}
            temporary = self.arguments.checkpoint.with_suffix(".tmp")
            torch.save(state | {"sampler": position, "step": self.step}, temporary)
            temporary.replace(self.arguments.checkpoint)

    def run(self) -> int:
        """Train until the last epoch, the last step or a signal; return the exit code."""
        numbers = (signal.SIGTERM, signal.SIGUSR1)
        before = [signal.signal(number, self.stop) for number in numbers]
        try:
            return self.run_epochs()
        finally:
            # A handler that stayed would keep the network, and with it threads of gloo: they abort at Python's end.
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def run_epochs(self) -> int:
        """Train on what is left of all epochs; return the exit code."""
        while self.sampler.epoch < self.arguments.epochs:
            if self.run_epoch():
                return 128 + self.stopped_by if self.stopped_by else 0
            self.sampler.set_epoch(self.sampler.epoch + 1)
            self.save(self.sampler.state_dict(consumed=0))
        return 0

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Note that the scheduler wants the process to end; it does so after the present step."""
        self.stopped_by = number

    def run_epoch(self) -> bool:
        """Train on what is left of the epoch; return whether to stop for good."""
        share = self.arguments.batch_size // dist.get_world_size()
        workers = self.arguments.num_workers
        loader = DataLoader(
            Numbered(self.reader), share, sampler=self.sampler, num_workers=workers, drop_last=True,
            pin_memory=self.device.type == "cuda",
        )  # fmt: skip
        consumed = 0
        self.network.train()
        for images, labels, numbers in loader:
            loss, stop = self.train_step(images.to(self.device), labels.to(self.device))
            consumed += len(numbers)
            self.log(loss, numbers)
            position = self.sampler.state_dict(consumed)
            last = stop or self.step == self.arguments.max_steps
            if last or self.step % self.arguments.save_every == 0:
                self.save(position)
            if last:
                return True
        return False

    def train_step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, bool]:
        """Return the mean loss of the global batch, and whether any rank was told to stop."""
        loss = nn.functional.cross_entropy(self.network(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        both = torch.stack([loss.detach() / dist.get_world_size(), loss.new_tensor(float(self.stopped_by))])
        dist.all_reduce(both)
        stop = bool(both[1])
        self.stopped_by = self.stopped_by or (signal.SIGTERM if stop else 0)
        return float(both[0]), stop

    def log(self, loss: float, numbers: torch.Tensor) -> None:
        """Print the loss now and then; write each step's loss and samples to the log, if there is one."""
        if dist.get_rank() == 0 and self.step % 10 == 0:
            print(f"epoch {self.sampler.epoch} step {self.step}: loss {loss:.3f}", flush=True)
        if self.arguments.step_log is None:
            return
        numbers = numbers.to(self.device)
        parts = [torch.empty_like(numbers) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, numbers)
        if dist.get_rank() == 0:
            samples = sorted(torch.cat(parts).tolist())
            line = {"epoch": self.sampler.epoch, "step": self.step, "loss": loss, "samples": samples}
            with self.arguments.step_log.open("a") as file:
                file.write(json.dumps(line) + "\n")


def augmentation(size: int) -> v2.Compose:
    """Return the usual preprocessing of ImageNet's training images."""
    return v2.Compose([
        v2.PILToTensor(),
        v2.RandomResizedCrop(size, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip


@distributed
def main(arguments: argparse.Namespace) -> int:
    """Train inside of the process group of whatever started this process."""
    return Trainer(arguments).run()


if __name__ == "__main__":
    try:
        sys.exit(main(parse_arguments()))
    except ShardwrightError as error:
        sys.exit(str(error))
