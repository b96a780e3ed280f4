"""The training loop that the projects share: it goes on after a stop at any step, to the same weights."""

import contextlib
import io
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from shardwright import ConfigError, ShardwrightError, ThreadedLoader
from shardwright.base.storage.atomic import write_bytes

__all__ = ["Fit", "Options", "Outcome", "load_checkpoint", "memory_advice", "pick_device", "save_checkpoint"]

Values = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What a model made of a batch: the loss to minimize, the number of samples, and sums over them to be averaged."""

    loss: torch.Tensor
    count: int
    sums: Values


Compute = Callable[[nn.Module, Any], Outcome]


@dataclass(frozen=True)
class Options:
    """How to train.

    Parameters
    ----------
    epochs : int
    monitor : str
        The value that says which epoch is best: ``val_loss``, ``val_accuracy``, ...
    mode : {"min", "max"}
        Which is better.
    patience : int, optional
        Epochs without a better one after which training stops. ``None``: never.
    lr_factor, lr_patience, lr_min
        Of `ReduceLROnPlateau` on the same value; ``lr_patience=None``: the rate stays.
    accumulate : int
        Batches whose gradients make one step.
    mixed_precision : bool
        Forward passes in bfloat16.
    save_every : int
        Steps between two checkpoints inside of an epoch; 0: only after epochs.
    max_steps : int, optional
        Stop after so many, counted over all runs.
    """

    epochs: int
    monitor: str = "val_loss"
    mode: str = "min"
    patience: int | None = None
    lr_factor: float = 0.5
    lr_patience: int | None = None
    lr_min: float = 0.0
    accumulate: int = 1
    mixed_precision: bool = False
    save_every: int = 0
    max_steps: int | None = None

    def better(self, value: float, best: float) -> bool:
        """Whether a value is better than another."""
        return value < best if self.mode == "min" else value > best


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``"auto"`` is the GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} is not to be had here: {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def memory_advice(config: Path | str) -> Iterator[None]:
    """Turn running out of memory into advice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "allocate memory" not in text:
            raise
        raise ConfigError(f"out of memory: reduce batch_size in {config}") from error


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())


def load_checkpoint(path: Path, keys: Sized = (), mend: str = "") -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Raises
    ------
    ConfigError
        If it is missing, cut, holds anything else, or lacks one of `keys`; `mend` says what to do.
    """
    path = Path(path)
    end = f": {mend}" if mend else ""
    if not path.is_file():
        raise ConfigError(f"Model file not found: {path}{end}")
    try:
        with warnings.catch_warnings(action="ignore"):  # about files that it then refuses
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{path} is cut, or no checkpoint of tensors and plain values: not loaded{end}") from error
    missing = [key for key in keys if not isinstance(state, dict) or key not in state]  # type: ignore[attr-defined]
    if missing:
        raise ConfigError(f"{path} is a checkpoint of something else: it has no {', '.join(missing)}{end}")
    return state  # type: ignore[no-any-return]


class Fit:
    """A training: model, optimizer, schedule, both loaders, and where it stands.

    Parameters
    ----------
    model : nn.Module
        On the device that `training` moves batches to.
    training, validation : ThreadedLoader
    compute : callable
        Model and batch to an `Outcome`.
    optimizer : torch.optim.Optimizer
    options : Options
    folder : path
        ``last.pth`` in it is where a stopped training goes on, ``best.pth`` the best epoch.
    config : dict
        Plain values that belong to the checkpoint; a checkpoint of another config is refused.
    best_name : callable, optional
        The name of the best epoch's file, made of the epoch's values.
    evaluate : callable, optional
        Model to further values of the validation part, like ``{"val_f1": ...}``.
    """

    def __init__(
        self,
        model: nn.Module,
        training: ThreadedLoader,
        validation: ThreadedLoader,
        compute: Compute,
        optimizer: torch.optim.Optimizer,
        options: Options,
        folder: Path,
        *,
        config: Mapping[str, Any],
        best_name: Callable[[Values], str] = lambda _: "best.pth",
        evaluate: Callable[[nn.Module], Values] = lambda _: {},
    ) -> None:
        self.model, self.training, self.validation = model, training, validation
        self.compute, self.optimizer, self.options, self.folder = compute, optimizer, options, Path(folder)
        self.config, self.best_name, self.evaluate = dict(config), best_name, evaluate
        self.device = next(model.parameters()).device
        self.schedule = _schedule(optimizer, options)
        self.epoch = self.step = 0
        self.sums: Values = {}
        self.history: list[Values] = []
        self.board = _board(self.folder)

    @property
    def last(self) -> Path:
        """Where a stopped training goes on."""
        return self.folder / "last.pth"

    def run(self) -> list[Values]:
        """Train until the last epoch or step, or no epoch was better for long; return the values of all epochs."""
        if self.last.exists():
            self._load()
        while self.epoch < self.options.epochs and not self._has_stalled():
            if not self._train_epoch():
                break
            self._end_epoch()
        if self.board is not None:
            self.board.close()
        return self.history

    def _train_epoch(self) -> bool:
        """Train on what is left of an epoch; return whether it came to its end."""
        self.model.train()
        loader, options = self.training, self.options
        before = loader.state_dict()["batches"]
        batches = tqdm(
            loader, f"epoch {self.epoch + 1}", len(loader), initial=before, disable=None, leave=False, unit="batches"
        )
        for number, batch in enumerate(batches, before + 1):
            self._backward(batch)
            if number % options.accumulate and number < len(loader):
                continue
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
            if self.step == options.max_steps:
                self._save()
                return False
            if options.save_every and self.step % options.save_every == 0:
                self._save()
        return True

    def _backward(self, batch: Any) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.mixed_precision):
            outcome = self.compute(self.model, batch)
        (outcome.loss / self.options.accumulate).backward()  # type: ignore[no-untyped-call]
        _add(self.sums, outcome)

    def _end_epoch(self) -> None:
        values: Values = {"epoch": float(self.epoch + 1), **_means(self.sums), **self._validate()}
        values["learning_rate"] = float(self.optimizer.param_groups[0]["lr"])
        if self.options.monitor not in values:
            raise ConfigError(f"there is no value {self.options.monitor!r} to monitor; there are {', '.join(values)}")
        self.history.append(values)
        self.epoch, self.sums = self.epoch + 1, {}
        if self.schedule is not None:
            self.schedule.step(values[self.options.monitor])
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "epoch")
        tqdm.write(f"epoch {self.epoch}: {told}")
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, self.epoch)
        if self.best() == len(self.history) - 1:
            save_checkpoint(self.folder / self.best_name(values), self._state())
        self._save()

    def _validate(self) -> Values:
        sums: Values = {}
        self.model.eval()
        with torch.no_grad():
            for batch in self.validation:
                _add(sums, self.compute(self.model, batch))
            further = self.evaluate(self.model)
        return {f"val_{name}": value for name, value in _means(sums).items()} | further

    def best(self) -> int:
        """Return the number of the best epoch so far, from 0."""
        best = 0
        for number, values in enumerate(self.history):
            if self.options.better(values[self.options.monitor], self.history[best][self.options.monitor]):
                best = number
        return best

    def _has_stalled(self) -> bool:
        patience = self.options.patience
        return bool(self.history) and patience is not None and len(self.history) - 1 - self.best() >= patience

    def _state(self) -> dict[str, Any]:
        return {
            "model_state_dict": self.model.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "loader": self.training.state_dict(),
            "random": torch.get_rng_state(),
            "random_gpu": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "history": self.history,
            "config": self.config,
            **{
                key: self.history[-1][key]
                for key in ("accuracy", "val_accuracy")
                if self.history and key in self.history[-1]
            },
        }

    def _save(self) -> None:
        save_checkpoint(self.last, self._state())

    def _load(self) -> None:
        state = load_checkpoint(self.last, ("loader", "random", "sums", "history", "config"), "remove it to begin anew")
        for key in self.config.keys() | state["config"].keys():
            old, new = state["config"].get(key), self.config.get(key)
            if old != new:
                raise ConfigError(f"{self.last} was begun with {key} {old!r}, not {new!r}: remove it to begin anew")
        try:
            self.model.load_state_dict(state["model_state_dict"])
            self.optimizer.load_state_dict(state["optimizer_state_dict"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            self.training.load_state_dict(state["loader"])
            torch.set_rng_state(state["random"])
            if state["random_gpu"] is not None and self.device.type == "cuda":
                torch.cuda.set_rng_state(state["random_gpu"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, ShardwrightError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"{self.last} is of another model ({reason}): remove it to begin anew") from error
        self.epoch, self.step, self.sums = state["epoch"], state["step"], state["sums"]
        self.history = state["history"]


def _schedule(optimizer: torch.optim.Optimizer, options: Options) -> torch.optim.lr_scheduler.ReduceLROnPlateau | None:
    if options.lr_patience is None:
        return None
    mode: Any = options.mode
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, options.lr_factor, options.lr_patience, min_lr=options.lr_min
    )


def _board(folder: Path) -> Any:
    """Return a writer of TensorBoard's logs, or ``None`` where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]


def _add(sums: Values, outcome: Outcome) -> None:
    more = {"count": float(outcome.count), "loss": float(outcome.loss.detach()) * outcome.count, **outcome.sums}
    for name, value in more.items():
        sums[name] = sums.get(name, 0.0) + value


def _means(sums: Values) -> Values:
    return {name: value / sums["count"] for name, value in sums.items() if name != "count"}
