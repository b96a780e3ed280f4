r"""Train a classifier of DM-time planes.

    python -m examples.single_pulse.training CONFIG.json

CONFIG is the configuration of the Keras project as it is, or `config_pytorch.json` as `convert_tf_to_pytorch` writes
it. The array is read where it lies; labels are numbers, or "Artefact" and "Pulse". A run that was stopped goes on at
its last checkpoint when it is started again.
"""

import argparse
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset

from examples.common.config import read_config, read_mapping
from examples.common.fit import Fit, Options, Outcome, memory_advice, pick_device
from examples.common.plots import plot_history
from examples.single_pulse.training_models import make_model
from shardwright import ArraySource, ConfigError, Reader, ShardwrightError, ThreadedLoader, index_files, open_reader

__all__ = ["CLASSES", "TrainingConfig", "compute", "open_planes", "read_training", "split_events", "train"]

CLASSES = ("Artefact", "Pulse")
IGNORED: dict[str, str] = {}
HELD_BACK = 0.2


@dataclass(frozen=True)
class TrainingConfig:
    """The keys of a configuration; those without default were in every one of the Keras project.

    Parameters
    ----------
    path_to_files, path_to_checkpoints, path_to_images : str
        Folders: of the arrays, of what is saved, of pictures; relative to the configuration.
    resolution : int
        Rows and columns of a plane.
    model_name : str
    files_by_resolution : dict of str to str
        The file of planes for each resolution; ``"default"`` may hold ``{res}``.
    labels : str
        The file of labels.
    copies_per_event : int
        Planes that follow each other and show one event: they are never in both parts.
    accumulate, mixed_precision, save_every, max_steps
        As in `examples.common.fit.Options`.
    num_threads : int
        Of the loader.
    """

    path_to_files: str
    path_to_checkpoints: str
    path_to_images: str
    resolution: int
    model_name: str
    files_by_resolution: dict[str, str]
    labels: str
    learning_rate: float = 1e-4
    num_epochs: int = 100
    patience: int | None = 5
    batch_size: int = 32
    copies_per_event: int = 1
    seed: int = 42
    device: str = "auto"
    num_threads: int = 1
    accumulate: int = 1
    mixed_precision: bool = False
    save_every: int = 500
    folder: Path = field(default=Path(), repr=False)

    def path(self, name: str) -> Path:
        """Return a path of the configuration: relative to its own folder."""
        return self.folder / Path(name).expanduser()

    @property
    def images(self) -> Path:
        """The file of planes."""
        names = self.files_by_resolution
        name = names.get(str(self.resolution), names.get("default"))
        if name is None:
            raise ConfigError(f"files_by_resolution has no {self.resolution} and no default, only {', '.join(names)}")
        return self.path(self.path_to_files) / name.replace("{res}", str(self.resolution))

    @property
    def checkpoints(self) -> Path:
        """The folder of this model's checkpoints."""
        return self.path(self.path_to_checkpoints) / f"ch_point_{self.model_name}_{self.resolution}"


def read_training(path: Path) -> TrainingConfig:
    """Read either kind of configuration; defaults for what `config_pytorch.json` does not hold are printed."""
    path = Path(path)
    values = read_mapping(path)
    if "images" not in values or "files_by_resolution" in values:
        return replace(read_config(path, TrainingConfig, IGNORED), folder=path.absolute().parent)
    if values.get("labels") is None:
        raise ConfigError(f"{path} names no labels: convert the array again with --labels")
    try:
        (_, channels, height, width), images = values["shape"], str(values["images"])
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is no config_pytorch.json: it has no shape of four numbers") from error
    if channels != 1 or height != width:
        raise ConfigError(f"{path}: planes are (N, 1, R, R), the array is {tuple(values['shape'])}")
    made = TrainingConfig(
        path_to_files=".",
        path_to_checkpoints="checkpoints",
        path_to_images="images",
        resolution=height,
        model_name="DM_time_binary_classificator_241002_3",
        files_by_resolution={"default": images},
        labels=str(values["labels"]),
        batch_size=int(values.get("loader", {}).get("batch_size", 32)),
        folder=path.absolute().parent,
    )
    shown = (
        "model_name",
        "resolution",
        "path_to_checkpoints",
        "path_to_images",
        "learning_rate",
        "num_epochs",
        "patience",
    )
    print(f"{path}: " + ", ".join(f"{name} {getattr(made, name)}" for name in shown))
    return made


def open_planes(config: TrainingConfig) -> Reader:
    """Index the array where it lies, once, and open it: samples are uint8 images (1, R, R) and labels 0 and 1.

    Raises
    ------
    ConfigError
        If the planes have another size than the configuration says, or there are other classes.
    """
    source = ArraySource(config.images, config.path(config.path_to_files) / config.labels)
    names = None if source.labels is None else source.labels.names
    if names is not None and names != CLASSES:
        raise ConfigError(f"{config.labels} holds the classes {', '.join(names)}, not {' and '.join(CLASSES)}")
    if names is None and source.labels is not None and not np.isin(source.labels.numbers, (0, 1)).all():
        raise ConfigError(f"{config.labels} holds other numbers than 0 and 1")
    index = config.checkpoints / "planes"
    if not (index / "metadata").exists():
        index_files(source, index)
    reader = open_reader(index, data_path=config.images.parent)
    shape = next(field.shape for field in reader.fields if field.name == "image")
    if shape is None or [n for n in shape if n > 1] != [config.resolution] * 2:
        raise ConfigError(f"resolution is {config.resolution}, the planes in {config.images} are {shape}")
    return reader


def split_events(count: int, copies: int, seed: int) -> tuple[list[int], list[int]]:
    """Return the rows for training and for validation: all planes of an event are in one of them."""
    if count % copies:
        raise ConfigError(f"copies_per_event is {copies}, and {count} planes are no multiple of it")
    order = torch.randperm(count // copies, generator=torch.Generator().manual_seed(seed)).tolist()
    held = round(len(order) * HELD_BACK)
    if not held or held == len(order):
        raise ConfigError(f"{len(order)} events are too few for two parts")

    def rows(events: list[int]) -> list[int]:
        return [event * copies + i for event in sorted(events) for i in range(copies)]

    return rows(order[held:]), rows(order[:held])


def compute(model: nn.Module, batch: Any) -> Outcome:
    """Return loss and accuracy of a batch."""
    planes, labels = batch
    logits = model(planes.float() / 255)
    right = (logits.argmax(dim=1) == labels).sum()
    return Outcome(nn.functional.cross_entropy(logits, labels), len(labels), {"accuracy": float(right)})


def train(config: TrainingConfig, max_steps: int | None = None) -> list[dict[str, float]]:
    """Train as the configuration says; return the values of every epoch."""
    device = pick_device(config.device)
    reader = open_planes(config)
    parts = [Subset(reader, rows) for rows in split_events(len(reader), config.copies_per_event, config.seed)]
    torch.manual_seed(config.seed)
    model = make_model(config.model_name, config.resolution).to(device)
    threads: dict[str, Any] = {"num_threads": config.num_threads, "device": device}
    fit = Fit(
        model,
        ThreadedLoader(parts[0], config.batch_size, shuffle=True, seed=config.seed, **threads),
        ThreadedLoader(parts[1], config.batch_size, **threads),
        compute,
        torch.optim.Adam(model.parameters(), config.learning_rate),
        Options(
            config.num_epochs,
            patience=config.patience,
            accumulate=config.accumulate,
            mixed_precision=config.mixed_precision,
            save_every=config.save_every,
            max_steps=max_steps,
        ),
        config.checkpoints,
        config={k: v for k, v in asdict(config).items() if k not in ("folder", "num_epochs", "device", "num_threads")},
        best_name=lambda v: f"prot-{int(v['epoch']):03d}-{v['accuracy']:.3f}-{v['val_accuracy']:.3f}.pth",
    )
    history = fit.run()
    if history:
        name = f"accuracy_across_epochs_for_{config.model_name}_{config.resolution}x{config.resolution}.jpg"
        plot_history(history, ("loss", "accuracy"), config.path(config.path_to_images) / name, config.model_name)
    return history


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: not, and stderr says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, metavar="CONFIG.json")
    parser.add_argument("--max-steps", type=int, metavar="N", help="stop after so many, counted over all runs")
    options = parser.parse_args(arguments)
    try:
        config = read_training(options.config)
        with memory_advice(options.config):
            history = train(config, options.max_steps)
    except (ShardwrightError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    best = max(history, key=lambda values: values["val_accuracy"], default=None)
    ended = f", best validation accuracy {best['val_accuracy']:.4f}" if best else ""
    print(f"{config.checkpoints}: {len(history)} epochs{ended}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
