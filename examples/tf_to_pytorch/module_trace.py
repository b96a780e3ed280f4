"""What a module does with one sample: which features are maps laid flat, and the zeros around convolutions' inputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

__all__ = ["Padding", "Trace", "trace"]


_PADS = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ZeroPad1d, nn.ZeroPad2d)


@dataclass(frozen=True)
class Padding:
    """Per axis: the size without zeros, and the zeros before and after it."""

    sizes: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]


@dataclass
class Trace:
    """What was seen, by the names of the module's layers.

    Parameters
    ----------
    ran : bool
        Whether the module could be run; `problem` says why not.
    inputs, outputs : dict of str to tuple of int
        Of layers on features that were (or become) a map: its shape (C, H, W).
    paddings : dict of str to Padding
        Of convolutions.
    cuts : dict of str to tuple of int
        Of transposed convolutions: the rows and columns that are cut from the end before the next layer.
    """

    ran: bool = False
    problem: str = "the file does not say the shape of its input"
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    paddings: dict[str, Padding] = field(default_factory=dict)
    cuts: dict[str, tuple[int, ...]] = field(default_factory=dict)


def trace(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> Trace:
    """Run a module on one sample of the first of the shapes that it takes."""
    problem = Trace.problem
    for shape in shapes:
        seen = Trace()
        try:
            _run(module, shape, seen)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            problem = str(error).splitlines()[0]
        else:
            seen.ran = True
            return seen
    return Trace(problem=problem)


def _run(module: nn.Module, shape: tuple[int, ...], seen: Trace) -> None:
    calls: list[tuple[str, nn.Module, torch.Size, torch.Size]] = []
    hooks = []

    def hook(name: str) -> Any:
        def keep(layer: nn.Module, inputs: Any, output: Any) -> Any:
            first = inputs[0] if inputs else None
            if not isinstance(first, torch.Tensor) or not isinstance(output, torch.Tensor):
                return None
            calls.append((name, layer, first.shape, output.shape))
            if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
                seen.paddings[name] = _padding(layer, first)
            return None if isinstance(layer, _PADS) else output.abs() + 1  # so that zeros are padding, and nothing else

        return keep

    training = module.training
    try:
        hooks += [m.register_forward_hook(hook(n)) for n, m in module.named_modules() if not list(m.children())]
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first = next(module.parameters())
            sample = torch.rand((2, *shape), device=first.device) + 0.5
            integers = any(isinstance(m, nn.Embedding) for m in module.modules())
            module.eval()(sample.long() if integers else sample)
    finally:
        module.train(training)
        for one in hooks:
            one.remove()
    _find_maps(calls, seen)


def _padding(layer: Any, value: torch.Tensor) -> Padding:
    """Return the zeros around a convolution's input: those in the tensor, and those that it adds itself."""
    axes = value.dim() - 2
    own: Any = layer.padding
    if own == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        own = [(t // 2, t - t // 2) for t in totals]
    else:
        own = [(0, 0)] * axes if own == "valid" else [(p, p) for p in own]
    sizes, pads = [], []
    for axis in range(axes):
        empty = (value == 0).movedim(axis + 2, 0).flatten(1).all(dim=1).tolist()
        before = next((i for i, zero in enumerate(empty) if not zero), 0)
        after = next((i for i, zero in enumerate(reversed(empty)) if not zero), 0)
        sizes.append(len(empty) - before - after)
        pads.append((before + own[axis][0], after + own[axis][1]))
    return Padding(tuple(sizes), tuple(pads))


def _find_maps(calls: Sequence[tuple[str, nn.Module, torch.Size, torch.Size]], seen: Trace) -> None:
    """Note which layers work on features that were a map just before, or are one just after."""
    for i, (name, layer, _, made) in enumerate(calls):
        if isinstance(layer, nn.ConvTranspose2d):
            sizes = [shape for _, _, *both in calls[i + 1 :] for shape in both if len(shape) == len(made)]
            other = next((shape for shape in sizes if shape[2:] != made[2:]), made)
            seen.cuts[name] = tuple(a - b for a, b in zip(made[2:], other[2:], strict=True))
    last_map: tuple[int, ...] | None = None
    features: list[str] = []  # layers since the last one that gives features: a map that follows is made of them
    for name, layer, given, made in calls:
        if len(given) == 4 and math.prod(given[2:]) > 1:
            shape = tuple(given[1:])
            if features and math.prod(shape) == _width(calls, features[0]):
                seen.outputs |= dict.fromkeys(features, shape)
            features = []
        if isinstance(layer, nn.Linear) and len(given) == 2:
            if last_map is not None and math.prod(last_map) == given[1] != last_map[0]:
                seen.inputs[name] = last_map
            features = [name]
        elif isinstance(layer, nn.BatchNorm1d) and len(given) == 2:
            if last_map is not None and not features and math.prod(last_map) == given[1] != last_map[0]:
                seen.outputs[name] = last_map
            features = [*features, name] if features else features
        if len(made) == 4:
            last_map = tuple(made[1:])
        elif len(made) == 2 and isinstance(layer, nn.Linear) and not _follows(calls, name, last_map):
            last_map = None


def _width(calls: Sequence[tuple[str, nn.Module, torch.Size, torch.Size]], name: str) -> int:
    return next(made[1] for other, _, _, made in calls if other == name)


def _follows(
    calls: Sequence[tuple[str, nn.Module, torch.Size, torch.Size]], name: str, last: tuple[int, ...] | None
) -> bool:
    """Whether a later linear layer reads the same flat map: mean and variance of an autoencoder do."""
    later = [given for other, layer, given, _ in calls if other != name and isinstance(layer, nn.Linear)]
    return last is not None and any(len(given) == 2 and given[1] == math.prod(last) for given in later)
