"""Weights of real Keras models in PyTorch modules and back: equal outputs, or an error that names the layer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from examples.tf_to_pytorch import keras_weights
from examples.tf_to_pytorch.keras_file import WeightsError, read_keras_file
from examples.tf_to_pytorch.keras_weights import RULES, Rule, load_keras_weights, save_keras_weights
from tests.examples.keras_pairs import PAIRS, Cut, Pair, keras

# Keras on torch, with a NumPy that has left it behind.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
]

ENDINGS = (".keras", ".weights.h5", ".h5")


def random_weights(shape: tuple[int, ...], inputs: int, rng: np.random.Generator) -> np.ndarray:
    """Values that let no output grow; positive ones for what has one axis: a moving variance must be."""
    values = rng.normal(size=shape) / np.sqrt(inputs) if len(shape) > 1 else rng.uniform(0.2, 1.2, shape)
    return values.astype(np.float32)


def randomize(model: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [tuple(w.shape) for w in model.weights]
    model.set_weights([random_weights(shape, int(np.prod(shape[:-1])), rng) for shape in shapes])


def randomize_module(module: nn.Module, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            shape = tuple(tensor.shape)
            tensor.copy_(torch.from_numpy(random_weights(shape, int(np.prod(shape[1:])), rng)))


def samples(pair: Pair, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if pair.integers:
        return rng.integers(0, pair.integers, (4, *pair.shape))
    return rng.uniform(-1, 1, (4, *pair.shape)).astype(np.float32)


def of_keras(model: Any, x: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x, training=False))


def of_torch(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """Outputs with the channels last, as Keras has them."""
    images = x.ndim == 4
    given = torch.from_numpy(np.moveaxis(x, -1, 1).copy() if images else x)
    with torch.no_grad():
        out = module.eval()(given).numpy()
    return np.moveaxis(out, 1, -1) if out.ndim == 4 else out


def save(model: Any, folder: Path, ending: str) -> Path:
    path = folder / f"model{ending}"
    (model.save_weights if ending == ".weights.h5" else model.save)(path)
    return path


def channels_first(pair: Pair) -> tuple[int, ...]:
    return (pair.shape[-1], *pair.shape[:-1]) if len(pair.shape) == 3 else pair.shape


def difference(pair: Pair, model: Any, module: nn.Module) -> float:
    x = samples(pair)
    theirs, ours = of_keras(model, x), of_torch(module, x)
    assert theirs.shape == ours.shape
    return float(np.abs(theirs - ours).max())


@pytest.fixture(scope="module", params=PAIRS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return PAIRS[request.param]


@pytest.mark.parametrize("ending", ENDINGS)
def test_outputs_are_equal_there_and_back(pair: Pair, ending: str, tmp_path: Path) -> None:
    model, module = pair.keras(), pair.torch()
    randomize(model, 1)
    path = save(model, tmp_path, ending)
    load_keras_weights(module, path, channels_first(pair))
    assert difference(pair, model, module) < 1e-5

    randomize_module(module, 2)
    output = tmp_path / f"back{ending}"
    save_keras_weights(module, path, output, channels_first(pair))
    again = keras.models.load_model(output) if ending != ".weights.h5" else pair.keras()
    if ending == ".weights.h5":
        again.load_weights(output)
    assert difference(pair, again, module) < 1e-5
