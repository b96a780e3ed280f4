"""Weights of real Keras models in PyTorch modules and back: equal outputs, or an error that names the layer."""

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from examples.tf_to_pytorch import keras_weights
from examples.tf_to_pytorch.keras_file import WeightsError, read_keras_file
from examples.tf_to_pytorch.keras_weights import RULES, Rule, load_keras_weights, save_keras_weights
from tests.examples.keras_pairs import PAIRS, Only, Pair, keras

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


# --- every rule is needed -------------------------------------------------------------------


def _swapped(rule: Rule, change: Any) -> Rule:
    """A rule that is wrong both ways, so that only outputs can show it."""
    return Rule(lambda arrays, module: change(rule.to_torch(arrays, module)), rule.to_keras)


def _gates_moved(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: np.roll(v, len(v) // 4 if len(v) % 4 == 0 else len(v) // 3, axis=0) for k, v in state.items()}


def _flipped(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return state | {"weight": state["weight"][..., ::-1].copy()}


def _statistics_swapped(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return state | {"running_mean": state["running_var"], "running_var": state["running_mean"]}


def _weight_and_bias_swapped(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return state | {"weight": state["bias"], "bias": state["weight"]}


MUTANTS = {
    "Dense": ("Dense", _flipped),
    "Conv1D same": ("Conv1D", _flipped),
    "Conv2D valid": ("Conv2D", _flipped),
    "Conv2DTranspose valid": ("Conv2DTranspose", _flipped),
    "DepthwiseConv2D": ("DepthwiseConv2D", _flipped),
    "BatchNormalization": ("BatchNormalization", _statistics_swapped),
    "LayerNormalization": ("LayerNormalization", _weight_and_bias_swapped),
    "Embedding": ("Embedding", _flipped),
    "LSTM": ("LSTM", _gates_moved),
    "GRU": ("GRU", _gates_moved),
    "Bidirectional LSTM": ("Bidirectional(LSTM)", _gates_moved),
    "Bidirectional GRU": ("Bidirectional(GRU)", _gates_moved),
}


def test_every_rule_has_a_mutant() -> None:
    assert {kind for kind, _ in MUTANTS.values()} == RULES.keys()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, change = MUTANTS[name]
    module_kind, rule = RULES[kind]
    monkeypatch.setitem(RULES, kind, (module_kind, _swapped(rule, change)))
    pair = PAIRS[name]
    model, module = pair.keras(), pair.torch()
    randomize(model, 1)
    load_keras_weights(module, save(model, tmp_path, ".keras"), channels_first(pair))
    assert difference(pair, model, module) > 1e-3


def test_features_of_a_flat_map_must_be_reordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_weights, "_reordered", lambda name, state, seen, back=False: state)
    for name in ("Dense after Flatten", "norm between Flatten and Dense", "face decoder"):
        pair = PAIRS[name]
        model, module = pair.keras(), pair.torch()
        randomize(model, 1)
        load_keras_weights(module, save(model, tmp_path, ".keras"), channels_first(pair))
        assert difference(pair, model, module) > 1e-3, name


# --- what does not fit names the layer ------------------------------------------------------

WRONG = {
    "epsilon": ("BatchNormalization", lambda: nn.Sequential(nn.BatchNorm2d(4)), "eps=0.001"),
    "padding of both sides": (
        "Conv2D same, stride 2",
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1)),
        "0 before, 1 after",
    ),
    "no padding": ("Conv2D same, even kernel", lambda: nn.Sequential(nn.Conv2d(3, 4, 4)), "1 before, 2 after"),
    "padding where there is none": (
        "Conv2D valid",
        lambda: nn.Sequential(nn.Conv2d(3, 4, (3, 2), padding=1)),
        "0 before, 0 after",
    ),
    "stride": ("Conv2D valid", lambda: nn.Sequential(nn.Conv2d(3, 4, (3, 2), stride=2)), r"stride is \(2, 2\)"),
    "not cut": (
        "Conv2DTranspose same, stride 2",
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 3, stride=2), nn.ReLU()),
        "cut them from the output",
    ),
    "cut at both ends": (
        "Conv2DTranspose same, stride 2",
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 3, stride=2, padding=1, output_padding=1), nn.ReLU()),
        r"padding=\(0, 0\)",
    ),
    "shape": ("Dense", lambda: nn.Sequential(nn.Linear(7, 5)), r"weight is \(5, 7\) and \(4, 7\)"),
    "bias": ("Dense without bias", lambda: nn.Sequential(nn.Linear(7, 4)), "bias is"),
    "two layers for one": (
        "Dense",
        lambda: nn.Sequential(nn.Linear(7, 4), nn.Linear(4, 4)),
        r"has 2 of Dense \(0, 1\), the file 1 \(dense",
    ),
    "one layer for eleven": ("eleven convolutions", lambda: nn.Sequential(nn.Conv2d(2, 2, 3)), "the file 11"),
    "another kind": ("LSTM", lambda: Only(nn.GRU(3, 4, batch_first=True)), "GRU"),
    "a layer without partner": (
        "Dense after Flatten",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 4)),
        r"no layer of the module takes conv2d\S* \(Conv2D\)",
    ),
    "a layer of another library": ("Dense", lambda: nn.Sequential(nn.PReLU()), "PReLU"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_an_error_and_changes_nothing(case: str, tmp_path: Path) -> None:
    name, make, told = WRONG[case]
    pair, module = PAIRS[name], make()
    path = save(pair.keras(), tmp_path, ".keras")
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(WeightsError, match=told):
        load_keras_weights(module, path, channels_first(pair))
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_another_slope_is_an_error(tmp_path: Path) -> None:
    module = PAIRS["face encoder"].torch()
    path = save(PAIRS["face encoder"].keras(), tmp_path, ".keras")
    for layer in module.modules():
        if isinstance(layer, nn.LeakyReLU):
            layer.negative_slope = 0.01
    with pytest.raises(WeightsError, match=r"blocks\.3 \(LeakyReLU\) has negative_slope=0\.01.*0\.3"):
        load_keras_weights(module, path)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_gru_that_resets_before_is_refused(ending: str, bias: bool, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.GRU(4, reset_after=False, use_bias=bias)])
    module = Only(nn.GRU(3, 4, batch_first=True, bias=bias), last=True)
    with pytest.raises(WeightsError, match="reset_after"):
        load_keras_weights(module, save(model, tmp_path, ending))


def test_names_win_over_order(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="b"), keras.layers.Dense(4, name="a")])
    randomize(model, 1)

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(self.b(x))

    module = Named()
    load_keras_weights(module, save(model, tmp_path, ".keras"))
    x = samples(Pair(lambda: model, Named, (4,)))
    assert np.abs(of_keras(model, x) - of_torch(module, x)).max() < 1e-5


# --- files that are none --------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("weights")


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(200 * 2**20))


def _linked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "x")


def _unwritten(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", (2**20, 2**20), np.float32, chunks=(1024, 1024))


def _pickled(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.void(b"cos\nsystem\n"))


@pytest.mark.parametrize("spoil", [_cut, _empty, _text, _bomb, _linked, _unwritten, _pickled])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_spoilt_file_is_one_line(spoil: Any, ending: str, tmp_path: Path) -> None:
    path = save(PAIRS["Dense"].keras(), tmp_path, ending)
    spoil(path)
    with pytest.raises(WeightsError) as caught:
        read_keras_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lambda_layer_is_never_run(tmp_path: Path) -> None:
    made = [keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2, name="double"), keras.layers.Dense(3)]
    path = save(keras.Sequential(made), tmp_path, ".keras")
    with pytest.warns(UserWarning, match=r"double \(Lambda\).*write it into forward\(\)"):
        load_keras_weights(nn.Sequential(nn.Linear(4, 3)), path)


# --- maps laid flat in forward(), with no layer of its own ----------------------------------


class Functional(nn.Module):
    def __init__(self, last: bool) -> None:
        super().__init__()
        self.conv, self.dense, self.last = nn.Conv2d(3, 6, 3), nn.Linear(24, 24), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.conv(x).relu(), 2)
        x = x.permute(0, 2, 3, 1).flatten(1) if self.last else x.view(len(x), -1)
        return self.dense(x)


class Unflattened(nn.Module):
    def __init__(self, last: bool) -> None:
        super().__init__()
        self.dense, self.conv, self.last = nn.Linear(5, 24), nn.Conv2d(6, 2, 1), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dense(x)
        x = x.view(-1, 2, 2, 6).permute(0, 3, 1, 2) if self.last else x.view(-1, 6, 2, 2)
        return self.conv(x)


class FlatSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense = nn.Conv1d(3, 4, 3), nn.Linear(28, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.conv(x.transpose(1, 2)).flatten(1))


L = keras.layers
BY_FUNCTIONS = {
    "flat, channels first": Pair(
        lambda: keras.Sequential(
            [keras.Input((6, 7, 3)), L.Conv2D(6, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dense(24)]
        ),
        lambda: Functional(last=False),
        (6, 7, 3),
    ),
    "unflat, channels first": Pair(
        lambda: keras.Sequential([keras.Input((5,)), L.Dense(24), L.Reshape((2, 2, 6)), L.Conv2D(2, 1)]),
        lambda: Unflattened(last=False),
        (5,),
    ),
    "flat steps": Pair(
        lambda: keras.Sequential([keras.Input((9, 3)), L.Conv1D(4, 3), L.Flatten(), L.Dense(2)]), FlatSteps, (9, 3)
    ),
}
BY_FUNCTIONS["flat, channels last"] = Pair(
    BY_FUNCTIONS["flat, channels first"].keras, lambda: Functional(last=True), (6, 7, 3)
)
BY_FUNCTIONS["unflat, channels last"] = Pair(
    BY_FUNCTIONS["unflat, channels first"].keras, lambda: Unflattened(last=True), (5,)
)


@pytest.mark.parametrize("name", BY_FUNCTIONS)
def test_maps_are_followed_through_functions(name: str, tmp_path: Path) -> None:
    pair = BY_FUNCTIONS[name]
    model, module = pair.keras(), pair.torch()
    randomize(model, 1)
    load_keras_weights(module, save(model, tmp_path, ".keras"), channels_first(pair))
    assert difference(pair, model, module) < 1e-5
