r"""Classify the planes of an array, or of an observation.

    python -m examples.single_pulse.run_inference -c CONFIG.json

Writes `predictions_NAME.npy`, int32, one class per plane in their order, as the Keras project did, and beside it
`probabilities_NAME.npy`, float32, of a pulse.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from examples.common.config import read_config
from examples.common.fit import load_checkpoint, memory_advice, pick_device
from examples.single_pulse.filterbank import Filterbank, delays, open_filterbank, planes_of, scaled
from examples.single_pulse.simulate import Sky, trial_dms
from examples.single_pulse.training_models import make_model
from shardwright import ConfigError, ShardwrightError
from shardwright.arrays.files import open_rows
from shardwright.base.values.rows import Rows

__all__ = ["IGNORED", "PipelineConfig", "Planes", "load_classifier", "probabilities", "read_pipeline"]

_TENSORFLOW = "TensorFlow's; there is nothing here that it would set"
_PIPELINE = "of the containers that dedispersed for the Keras pipeline; here filterbank.py does it"
IGNORED = {
    "workers_for_tensorflow": "it is called workers_for_pytorch now",
    "use_multiprocessing": _TENSORFLOW,
    "threads_for_transientx": _PIPELINE,
    "input_buffer_size": _PIPELINE,
    "path_to_a_transientx_config": _PIPELINE,
    "path_to_pulsarx_singularity_image": _PIPELINE,
    "path_to_tensorflow_psrdada_singularity_image": _PIPELINE,
    "key_input": "of a shared-memory buffer; files are read instead",
    "key_output": "of a shared-memory buffer; files are written instead",
}


@dataclass(frozen=True)
class PipelineConfig:
    """The keys of a pipeline's configuration.

    Parameters
    ----------
    path_to_filterbanks, name_of_the_filterbank : str
        The observation (``.fil``), or an array of planes (``.npy``, ``.npz``, HDF5): (N, R, R) or (N, 1, R, R), uint8.
    path_to_models, name_of_the_model : str
        The checkpoint (``.pth``).
    model_name : str
    resolution : int
    n_spectra : int, optional
        Planes to classify; all by default.
    workers_for_pytorch : int
        CPU threads; 0: as many as PyTorch takes.
    path_to_output : str
        Where predictions go.
    hop : int, optional
        Columns from one plane of an observation to the next; by default they do not overlap.
    first_dm, last_dm : float
        Of a plane's rows, pc/cm^3.
    spectra_per_column : int, optional
        By default as in training: 1 for 256 columns, 4 for 64.
    """

    path_to_filterbanks: str
    name_of_the_filterbank: str
    path_to_models: str
    name_of_the_model: str
    model_name: str
    resolution: int
    n_spectra: int | None = None
    workers_for_pytorch: int = 0
    path_to_output: str = "."
    batch_size: int = 32
    hop: int | None = None
    first_dm: float = Sky.first
    last_dm: float = Sky.last
    spectra_per_column: int | None = None
    device: str = "auto"
    folder: Path = field(default=Path(), repr=False)

    def path(self, *names: str) -> Path:
        """Return a path of the configuration: relative to its own folder."""
        return self.folder.joinpath(*names)

    @property
    def input(self) -> Path:
        """The observation, or the array."""
        return self.path(self.path_to_filterbanks, self.name_of_the_filterbank)

    def output(self, what: str) -> Path:
        """Return where ``predictions`` or ``probabilities`` go."""
        return self.path(self.path_to_output, f"{what}_{self.input.stem}.npy")


def read_pipeline(path: Path) -> PipelineConfig:
    """Read the configuration of a pipeline."""
    config = replace(read_config(path, PipelineConfig, IGNORED), folder=Path(path).absolute().parent)
    for name in ("hop", "batch_size", "spectra_per_column"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ConfigError(f"{path}: {name} is {value}: give at least 1")
    return config


def load_classifier(config: PipelineConfig) -> nn.Module:
    """Make the model first, then load its weights."""
    path = config.path(config.path_to_models, config.name_of_the_model)
    if path.suffix in (".h5", ".keras"):
        raise ConfigError(
            f"{path} is a Keras file: python -m examples.single_pulse.convert_to_pytorch {config.model_name} "
            f"{path.with_suffix('.pth')} --resolution {config.resolution} --from-keras {path}"
        )
    model = make_model(config.model_name, config.resolution)
    state = load_checkpoint(path, mend="train it first, or name another file in name_of_the_model")
    try:
        model.load_state_dict(state.get("model_state_dict", state))
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path} holds no weights of {config.model_name} at {config.resolution}: {reason}") from error
    return model.to(pick_device(config.device)).eval()


class Planes:
    """The planes of an array, or of an observation, in their order.

    Parameters
    ----------
    config : PipelineConfig
    growing : bool
        The observation is still written: `available` grows.
    """

    def __init__(self, config: PipelineConfig, growing: bool = False) -> None:
        self.config, self.resolution = config, config.resolution
        self.binning = config.spectra_per_column or max(1, 256 // config.resolution)
        self.hop = config.hop or config.resolution
        self.found = open_filterbank(config.input, growing) if config.input.suffix == ".fil" else None
        self.rows = None if self.found else _array(config)
        if self.found and config.last_dm <= config.first_dm:
            raise ConfigError(f"last_dm {config.last_dm:g} must be above first_dm {config.first_dm:g}")
        self.dms = trial_dms(config.resolution, Sky(first=config.first_dm, last=config.last_dm))

    def available(self) -> int:
        """Return how many planes there are by now."""
        if self.rows is not None:
            return len(self.rows)
        return self.of_spectra(len(self._observation))

    def of_spectra(self, count: int) -> int:
        """Return how many planes so many spectra give."""
        longest = int(np.rint(delays(self._observation.frequencies, self.dms) / self._observation.tsamp).max())
        left = count - longest - self.resolution * self.binning
        return 0 if left < 0 else left // (self.hop * self.binning) + 1

    @property
    def _observation(self) -> Filterbank:
        if self.found is None:
            raise TypeError(f"{self.config.input} is an array")
        return self.found

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """Return planes, shape (end - begin, R, R)."""
        if self.rows is not None:
            return self.rows.read(begin, end).reshape(-1, self.resolution, self.resolution)
        starts = [number * self.hop * self.binning for number in range(begin, end)]
        return scaled(planes_of(self._observation, self.dms, starts, self.resolution, self.binning))


def _array(config: PipelineConfig) -> Rows:
    rows = open_rows(config.input)
    shape = [n for n in rows.shape[1:] if n != 1]
    if rows.dtype != np.uint8 or shape != [config.resolution] * 2:
        raise ConfigError(
            f"{config.input} holds {rows.dtype} of shape {rows.shape}, not uint8 planes of "
            f"{config.resolution} x {config.resolution}: is resolution right?"
        )
    return rows


def probabilities(model: nn.Module, planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probability of a pulse for each plane (N, R, R)."""
    device = next(model.parameters()).device
    with torch.no_grad():
        logits = model(torch.from_numpy(np.ascontiguousarray(planes)).to(device)[:, None].float() / 255)
        found: NDArray[np.float32] = logits.softmax(dim=1)[:, 1].cpu().numpy()
    return found


def batches(count: int, size: int, begin: int = 0) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each batch."""
    for start in range(begin, count, size):
        yield start, min(start + size, count)


def wanted(config: PipelineConfig, available: int) -> int:
    """Return how many planes to classify."""
    count = available if config.n_spectra is None else config.n_spectra
    if not 0 < count <= available:
        raise ConfigError(f"n_spectra is {config.n_spectra}, and {config.input} gives {available} planes")
    return count


def infer(config: PipelineConfig) -> str:
    """Classify everything, and return what was done."""
    if config.workers_for_pytorch:
        torch.set_num_threads(config.workers_for_pytorch)
    model, planes = load_classifier(config), Planes(config)
    count = wanted(config, planes.available())
    found = np.empty(count, np.float32)
    for begin, end in tqdm(list(batches(count, config.batch_size)), "classify", disable=None):
        found[begin:end] = probabilities(model, planes.read(begin, end))
    config.output("predictions").parent.mkdir(parents=True, exist_ok=True)
    np.save(config.output("predictions"), (found > 0.5).astype(np.int32))
    np.save(config.output("probabilities"), found)
    return f"{config.output('predictions')}: {count} planes, {int((found > 0.5).sum())} with a pulse"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: not, and stderr says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="CONFIG.json")
    options = parser.parse_args(arguments)
    try:
        config = read_pipeline(options.config)
        with memory_advice(options.config):
            print(infer(config))
    except (ShardwrightError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
