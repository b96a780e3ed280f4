"""Weights of Keras models in PyTorch modules, and back.

One table says how the arrays of a layer lie in Keras and in PyTorch. A module's layers are matched with those
of the file by attribute name, else by kind and order. What a number cannot show is checked where the file says
it: epsilon, slope, stride and padding.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from examples.tf_to_pytorch.keras_file import KerasFile, KerasLayer, WeightsError, read_keras_file, write_keras_file
from examples.tf_to_pytorch.module_trace import Trace, trace

__all__ = ["Match", "load_keras_weights", "match_layers", "save_keras_weights"]

Arrays = list[NDArray[Any]]
State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Rule:
    """How one kind of layer is stored: a pair of functions between Keras' arrays and a module's tensors."""

    to_torch: Callable[[Arrays, nn.Module], State]
    to_keras: Callable[[State, nn.Module], Arrays]


def _kernel(to_torch: Sequence[int]) -> Rule:
    """Return the rule of a layer with a kernel, whose axes are turned, and perhaps a bias."""
    back = [int(axis) for axis in np.argsort(to_torch)]

    def there(arrays: Arrays, _: nn.Module) -> State:
        return {"weight": arrays[0].transpose(to_torch)} | ({"bias": arrays[1]} if len(arrays) > 1 else {})

    def again(state: State, _: nn.Module) -> Arrays:
        return [state["weight"].transpose(back)] + ([state["bias"]] if "bias" in state else [])

    return Rule(there, again)


def _depthwise_to_torch(arrays: Arrays, _: nn.Module) -> State:
    height, width, channels, multiplier = arrays[0].shape
    weight = arrays[0].transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return {"weight": weight} | ({"bias": arrays[1]} if len(arrays) > 1 else {})


def _depthwise_to_keras(state: State, module: Any) -> Arrays:
    weight = state["weight"]
    kernel = weight.reshape(module.in_channels, -1, *weight.shape[2:]).transpose(2, 3, 0, 1)
    return [kernel] + ([state["bias"]] if "bias" in state else [])


def _plain(*names: str) -> Rule:
    """Return the rule of a layer whose arrays are the same in both."""
    return Rule(
        lambda arrays, _: dict(zip(names, arrays, strict=True)),
        lambda state, _: [state[name] for name in names if name in state],
    )


def _norm_to_torch(arrays: Arrays, module: nn.Module) -> State:
    names = [name for name in ("weight", "bias") if getattr(module, name) is not None]
    return dict(zip([*names, "running_mean", "running_var"], arrays, strict=True))


def _norm_to_keras(state: State, _: nn.Module) -> Arrays:
    return [state[name] for name in ("weight", "bias", "running_mean", "running_var") if name in state]


def _gates(order: Sequence[int]) -> tuple[Callable[[Arrays, nn.Module], State], Callable[[State, nn.Module], Arrays]]:
    """Return the functions of a recurrent layer whose gates are in another order: its blocks of rows are moved."""
    count, back = len(order), [int(n) for n in np.argsort(order)]

    def moved(rows: NDArray[Any], places: Sequence[int]) -> NDArray[Any]:
        blocks = np.split(rows, count)
        return np.concatenate([blocks[n] for n in places])

    def there(arrays: Arrays, _: nn.Module) -> State:
        state: State = {}
        ends = ("", "_reverse")
        per = len(arrays) // (2 if len(arrays) > 3 else 1)
        for end, (kernel, recurrent, *bias) in zip(
            ends, [arrays[i : i + per] for i in range(0, len(arrays), per)], strict=False
        ):
            state[f"weight_ih_l0{end}"] = moved(kernel.T, order)
            state[f"weight_hh_l0{end}"] = moved(recurrent.T, order)
            if bias:
                two = bias[0] if bias[0].ndim == 2 else np.stack([bias[0], np.zeros_like(bias[0])])
                state[f"bias_ih_l0{end}"], state[f"bias_hh_l0{end}"] = (moved(b, order) for b in two)
        return state

    def again(state: State, _: nn.Module) -> Arrays:
        arrays: Arrays = []
        for end in [end for end in ("", "_reverse") if f"weight_ih_l0{end}" in state]:
            arrays += [moved(state[f"weight_{part}_l0{end}"], back).T for part in ("ih", "hh")]
            if f"bias_ih_l0{end}" in state:
                two = np.stack([moved(state[f"bias_{part}_l0{end}"], back) for part in ("ih", "hh")])
                arrays.append(two if count == 3 else two.sum(axis=0))  # an LSTM of Keras has one bias
        return arrays

    return there, again


LSTM = Rule(*_gates((0, 1, 2, 3)))  # both: input, forget, cell, output
GRU = Rule(*_gates((1, 0, 2)))  # Keras: update, reset, new; PyTorch: reset, update, new
RULES: dict[str, tuple[type[nn.Module] | tuple[type[nn.Module], ...], Rule]] = {
    "Dense": (nn.Linear, _kernel((1, 0))),
    "Conv1D": (nn.Conv1d, _kernel((2, 1, 0))),
    "Conv2D": (nn.Conv2d, _kernel((3, 2, 0, 1))),
    "DepthwiseConv2D": (nn.Conv2d, Rule(_depthwise_to_torch, _depthwise_to_keras)),
    "Conv2DTranspose": (nn.ConvTranspose2d, _kernel((3, 2, 0, 1))),
    "BatchNormalization": ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), Rule(_norm_to_torch, _norm_to_keras)),
    "LayerNormalization": (nn.LayerNorm, _plain("weight", "bias")),
    "Embedding": (nn.Embedding, _plain("weight")),
    "LSTM": (nn.LSTM, LSTM),
    "GRU": (nn.GRU, GRU),
    "Bidirectional(LSTM)": (nn.LSTM, LSTM),
    "Bidirectional(GRU)": (nn.GRU, GRU),
}


@dataclass(frozen=True)
class Match:
    """A layer of the module, and the layer of the file that has its weights."""

    name: str
    module: nn.Module
    layer: KerasLayer
    kind: str

    def __str__(self) -> str:
        shapes = ", ".join(str(tuple(array.shape)) for array in self.layer.arrays.values())
        return f"{self.name} ({type(self.module).__name__}) <- {'/'.join(self.layer.path)} ({self.kind}): {shapes}"


def load_keras_weights(module: nn.Module, path: Path, input_shape: tuple[int, ...] | None = None) -> list[Match]:
    """Fill a module with the weights of a Keras file.

    Parameters
    ----------
    module : nn.Module
        Changed only if everything fits.
    path : path
        A ``.keras``, ``.weights.h5`` or ``.h5`` file.
    input_shape : tuple of int, optional
        Of one sample as the module takes it (C, H, W), where the file does not say it.

    Returns
    -------
    list of Match
        What went where.

    Raises
    ------
    WeightsError
        If a layer has no partner, other shapes, or other options than the file's.
    """
    file = read_keras_file(path)
    matches = match_layers(module, file)
    seen = trace(module, _input_shapes(file, input_shape))
    _check_options(module, file, matches, seen)
    _warn_of_code(file)
    states = [_state(match, seen) for match in matches]
    with torch.no_grad():
        for match, state in zip(matches, states, strict=True):
            own = match.module.state_dict()
            for key, values in state.items():
                own[key].copy_(torch.from_numpy(np.ascontiguousarray(values)))
    return matches


def save_keras_weights(
    module: nn.Module, like: Path, output: Path, input_shape: tuple[int, ...] | None = None
) -> list[Match]:
    """Write a copy of a Keras file with a module's weights in it; raises as `load_keras_weights`."""
    file = read_keras_file(like)
    matches = match_layers(module, file)
    seen = trace(module, _input_shapes(file, input_shape))
    _check_options(module, file, matches, seen)
    arrays: dict[str, NDArray[Any]] = {}
    for match in matches:
        _state(match, seen)  # the same checks of shapes
        state = {key: tensor.detach().cpu().numpy() for key, tensor in match.module.state_dict().items()}
        made = RULES[match.kind][1].to_keras(_reordered(match.name, state, seen, back=True), match.module)
        arrays |= dict(zip(match.layer.arrays, made, strict=True))
    write_keras_file(file, arrays, output)
    return matches


def match_layers(module: nn.Module, file: KerasFile) -> list[Match]:
    """Match a module's layers with those of a file: by attribute name, else by kind and order."""
    named = [(name, child) for name, child in module.named_modules() if _has_own(child)]
    for name, child in named:
        if not _kinds(child):
            raise WeightsError(
                f"{name or 'the module'} ({type(child).__name__}) has weights and is none of {', '.join(RULES)}"
            )
    found: dict[str, KerasLayer] = {}
    for name, _ in named:
        layer = next((one for one in file.layers if name in (".".join(one.path), one.name)), None)
        if layer is not None:
            found[name] = layer
    left = [layer for layer in file.layers if layer not in found.values()]
    for kinds in dict.fromkeys(_kinds(child) for name, child in named if name not in found):
        names = [name for name, child in named if name not in found and _kinds(child) == kinds]
        layers = [layer for layer in left if layer.kind in kinds]
        if len(names) != len(layers):
            raise WeightsError(_uneven(file, kinds, names, layers))
        found |= dict(zip(names, layers, strict=True))
        left = [layer for layer in left if layer not in layers]
    if left:
        shown = ", ".join(f"{'/'.join(layer.path)} ({layer.kind or 'of a kind that is not known'})" for layer in left)
        raise WeightsError(f"{file.path}: no layer of the module takes {shown}; is it the same model?")
    return [Match(name, child, found[name], _kind(name, child, found[name], file)) for name, child in named]


def _has_own(module: nn.Module) -> bool:
    return bool(module._parameters or module._buffers)


def _kinds(module: nn.Module) -> tuple[str, ...]:
    """Return the kinds of Keras layers whose weights a module can take; the likeliest first."""
    if isinstance(module, (nn.LSTM, nn.GRU)):
        kind = "LSTM" if isinstance(module, nn.LSTM) else "GRU"
        return (f"Bidirectional({kind})" if module.bidirectional else kind,)
    if isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels:
        return ("DepthwiseConv2D", "Conv2D")
    return tuple(kind for kind, (cls, _) in RULES.items() if isinstance(module, cls) and kind != "DepthwiseConv2D")


def _kind(name: str, module: nn.Module, layer: KerasLayer, file: KerasFile) -> str:
    kinds = _kinds(module)
    if layer.kind is None:
        return kinds[0]
    if layer.kind not in kinds:
        raise WeightsError(
            f"{file.path}: {'/'.join(layer.path)} is {layer.kind}, {name} of the module is {type(module).__name__}"
        )
    return layer.kind


def _uneven(file: KerasFile, kinds: tuple[str, ...], names: list[str], layers: list[KerasLayer]) -> str:
    ours, theirs = ", ".join(names), ", ".join("/".join(layer.path) for layer in layers) or "none"
    unknown = ", ".join("/".join(layer.path) for layer in file.layers if layer.kind is None)
    mend = (
        f"; {unknown} may be meant: give the module's attributes the same names"
        if unknown
        else "; is it the same model?"
    )
    wanted = " or ".join(kinds)
    return f"{file.path}: the module has {len(names)} of {wanted} ({ours}), the file {len(layers)} ({theirs}){mend}"


def _input_shapes(file: KerasFile, given: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """Return the shapes that a sample may have for the module: channels first, or as it is."""
    if given is not None:
        return [given]
    shape = file.input_shape
    return [] if shape is None else list(dict.fromkeys([(shape[-1], *shape[:-1]), shape]))


def _state(match: Match, seen: Trace) -> State:
    """Return the tensors of a module's layer, checked against the shapes that it has."""
    layer, module = match.layer, match.module
    where = f"{match.name} ({type(module).__name__}) and {'/'.join(layer.path)} of the file"
    if getattr(module, "num_layers", 1) != 1:
        raise WeightsError(
            f"{where}: num_layers={module.num_layers} in one module; a Keras layer is one: use one module for each"
        )
    if isinstance(module, nn.GRU):
        _check_reset(layer, where)
    try:
        state = RULES[match.kind][1].to_torch(list(layer.arrays.values()), module)
    except (ValueError, IndexError) as error:
        raise WeightsError(
            f"{where}: {len(layer.arrays)} arrays, which are not those of the module ({error})"
        ) from error
    own = {k: tuple(v.shape) for k, v in module.state_dict().items() if k != "num_batches_tracked"}
    theirs = {k: tuple(v.shape) for k, v in state.items()}
    if own != theirs:
        wrong = sorted(k for k in own.keys() | theirs.keys() if own.get(k) != theirs.get(k))
        told = ", ".join(f"{k} is {own.get(k, 'not there')} and {theirs.get(k, 'not there')}" for k in wrong)
        raise WeightsError(f"{where} differ: {told}")
    return _reordered(match.name, state, seen)


def _check_reset(layer: KerasLayer, where: str) -> None:
    """Raise unless a GRU resets after the product, as PyTorch's does: its two biases show it, or the file says it."""
    biases = [array for array in layer.arrays.values() if array.shape[0] == 2 and array.ndim == 2]
    one_bias = any(array.ndim == 1 for array in layer.arrays.values())
    told = layer.config.get("reset_after")
    if one_bias or told is False:
        raise WeightsError(f"{where}: reset_after=False, which nn.GRU cannot express: train it with reset_after=True")
    if told is None and not biases:
        raise WeightsError(
            f"{where}: the file does not say whether reset_after=True: give the .keras file of the model"
        )


def _reordered(name: str, state: State, seen: Trace, back: bool = False) -> State:
    """Return the tensors with features that were or become a map in the order C, H, W, or, `back`, H, W, C."""
    inputs, outputs = seen.inputs.get(name), seen.outputs.get(name)
    if inputs is not None and "weight" in state and state["weight"].ndim == 2:
        state = state | {"weight": state["weight"][:, _order(inputs, back)]}
    if outputs is not None:
        order = _order(outputs, back)
        state = state | {k: v[order] for k, v in state.items() if v.ndim and len(v) == len(order)}
    return state


def _order(shape: tuple[int, ...], back: bool) -> NDArray[np.int64]:
    """Return where in H, W, C each feature of C, H, W lies."""
    channels, *space = shape
    order = np.arange(int(np.prod(shape))).reshape(*space, channels)
    order = np.moveaxis(order, -1, 0).ravel()
    return np.argsort(order) if back else order


def _check_options(module: nn.Module, file: KerasFile, matches: Sequence[Match], seen: Trace) -> None:
    for match in matches:
        for wrong in _other_options(match, seen):
            raise WeightsError(
                f"{match.name} ({type(match.module).__name__}) and {'/'.join(match.layer.path)} of the file: {wrong}"
            )
    slopes = [(n, float(_slope(c))) for n, kind, c in file.without_arrays if kind == "LeakyReLU"]
    ours = [(n, float(m.negative_slope)) for n, m in module.named_modules() if isinstance(m, nn.LeakyReLU)]
    if len(slopes) == len(ours):
        for (theirs, slope), (own, value) in zip(slopes, ours, strict=True):
            if not np.isclose(slope, value, rtol=1e-6):
                raise WeightsError(
                    f"{own} (LeakyReLU) has negative_slope={value:g}, {theirs} of the file {slope:g}: make them equal"
                )
    flattens = [name for name, kind, _ in file.without_arrays if kind == "Flatten"]
    if flattens and not seen.ran and any(isinstance(m, nn.Conv2d) for m in module.modules()):
        raise WeightsError(
            f"{file.path} has a Flatten layer ({flattens[0]}), and the module could not be run to see the shape there "
            f"({seen.problem}); give --input-shape C,H,W"
        )


def _warn_of_code(file: KerasFile) -> None:
    unread = [f"{name} ({kind})" for name, kind, _ in file.without_arrays if kind == "Lambda"]
    if unread:
        told = (
            f"{file.path}: {', '.join(unread)}: code of a Lambda layer is never run: write it into forward() yourself"
        )
        warnings.warn(told, stacklevel=3)


def _slope(config: Mapping[str, Any]) -> float:
    return config.get("negative_slope", config.get("alpha", 0.3))  # type: ignore[no-any-return]


def _other_options(match: Match, seen: Trace) -> list[str]:
    """Return in which options a module differs from the file's, where the file has them."""
    config, module = match.layer.config, match.module
    wrong = []
    if "epsilon" in config and not np.isclose(config["epsilon"], module.eps, rtol=1e-6):
        theirs = f"{config['epsilon']:g}"
        wrong.append(f"eps is {module.eps:g}, the file's epsilon {theirs}: make the module with eps={theirs}")
    if config.get("return_state") is None and config.get("go_backwards"):
        wrong.append("go_backwards=True is not expressible")
    if "strides" in config and isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)):
        for ours, theirs in (("stride", "strides"), ("dilation", "dilation_rate")):
            value = config.get(theirs)
            value = (value,) * len(module.stride) if isinstance(value, int) else value
            if value is not None and tuple(getattr(module, ours)) != tuple(value):
                wrong.append(f"{ours} is {getattr(module, ours)}, the file's {tuple(value)}")
        wrong += _other_padding(match, seen) if not wrong else []
    return wrong


def _other_padding(match: Match, seen: Trace) -> list[str]:
    module: Any = match.module
    padding = match.layer.config.get("padding")
    kernel, stride = module.kernel_size, module.stride
    if isinstance(module, nn.ConvTranspose2d):
        return _other_cut(match, seen)
    found = seen.paddings.get(match.name)
    if found is None:  # it was not run: only what is plain can be compared
        simple = module.padding == "same" or any(np.atleast_1d(module.padding))
        return [f"padding={module.padding}, the file's 'valid'"] if padding == "valid" and simple else []
    wanted = [
        _keras_padding(padding, size, *of)
        for size, *of in zip(found.sizes, kernel, stride, module.dilation, strict=True)
    ]
    if list(found.pads) == wanted:
        return []
    told = " and ".join(f"{a} before, {b} after" for a, b in wanted)
    ours = " and ".join(f"{a} before, {b} after" for a, b in found.pads)
    return [f"zeros around its input: {ours} (per axis); Keras' {padding!r} is {told}"]


def _other_cut(match: Match, seen: Trace) -> list[str]:
    """Return whether a transposed convolution cuts its output elsewhere than Keras does: half of what is too much."""
    module: Any = match.module
    same = match.layer.config.get("padding") == "same"
    over = [max(k - s, 0) if same else 0 for k, s in zip(module.kernel_size, module.stride, strict=True)]
    before = tuple(n // 2 for n in over)
    if tuple(module.padding) != before or any(module.output_padding):
        told = f"padding={tuple(module.padding)}, output_padding={tuple(module.output_padding)}"
        return [f"{told}; Keras' {match.layer.config.get('padding')!r} is padding={before}, output_padding=(0, 0)"]
    if match.name in seen.cuts and same and seen.cuts[match.name] != tuple(n - n // 2 - n // 2 for n in over):
        ends = " and ".join(str(n - n // 2 - n // 2) for n in over)
        return [f"Keras' 'same' has {ends} rows and columns less at the end: cut them from the output"]
    return []


def _keras_padding(padding: Any, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return the zeros before and after an axis of `size` values."""
    extent = (kernel - 1) * dilation + 1
    if padding == "causal":
        return extent - 1, 0
    total = max((-(-size // stride) - 1) * stride + extent - size, 0) if padding == "same" else 0
    return total // 2, total - total // 2
