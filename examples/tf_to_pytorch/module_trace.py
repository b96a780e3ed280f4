"""What a module does with one sample: which features are maps laid flat, and the zeros around convolutions' inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["Padding", "Trace", "trace"]

_PADS = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ZeroPad1d, nn.ZeroPad2d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_TURNS = {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "mT", "T"}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Padding:
    """Per axis: the size without zeros, and the zeros before and after it."""

    sizes: Shape
    pads: tuple[tuple[int, int], ...]


@dataclass
class Trace:
    """What was seen, by the names of the module's layers.

    Parameters
    ----------
    ran : bool
        Whether the module could be run; `problem` says why not.
    inputs, outputs : dict of str to tuple of int
        Of layers on features that were (or become) a map with its channels first: its shape (C, H, W).
    paddings : dict of str to Padding
        Of convolutions.
    cuts : dict of str to tuple of int
        Of transposed convolutions: the rows and columns that are cut from the end before the next layer.
    """

    ran: bool = False
    problem: str = "the file does not say the shape of its input"
    inputs: dict[str, Shape] = field(default_factory=dict)
    outputs: dict[str, Shape] = field(default_factory=dict)
    paddings: dict[str, Padding] = field(default_factory=dict)
    cuts: dict[str, Shape] = field(default_factory=dict)


def trace(module: nn.Module, shapes: Sequence[Shape]) -> Trace:
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


def _run(module: nn.Module, shape: Shape, seen: Trace) -> None:
    watch = _Watch(seen)
    hooks = []
    training = module.training
    try:
        hooks += [m.register_forward_hook(watch.hook(n)) for n, m in module.named_modules() if not list(m.children())]
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            device = next(module.parameters()).device
            sample = torch.rand((2, *shape), device=device) + 0.5
            integers = any(isinstance(m, nn.Embedding) for m in module.modules())
            with watch:
                watch.end(module.eval()(watch.begin(sample.long() if integers else sample)))
    finally:
        module.train(training)
        for one in hooks:
            one.remove()


@dataclass(frozen=True)
class _Tag:
    """What is known of a tensor.

    `first`: it has its channels first. `flat`: the map (C, H, W) that it is laid flat from. `made_by`: the layers that
    its features come from. `cut_from`: the transposed convolution before it, and the size of its output.
    """

    first: bool = False
    flat: Shape | None = None
    made_by: tuple[str, ...] = ()
    cut_from: tuple[str, Shape] | None = None


class _Watch(TorchFunctionMode):
    """Follows tensors through all functions, and layers by hooks."""

    def __init__(self, seen: Trace) -> None:
        super().__init__()
        self.seen = seen
        self.tags: dict[int, _Tag] = {}
        self.kept: list[torch.Tensor] = []  # an id must not be given anew

    def begin(self, sample: torch.Tensor) -> torch.Tensor:
        return self._tagged(sample, _Tag(first=sample.dim() == 4))

    def end(self, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            self._note_cut(output)

    def _tagged(self, value: torch.Tensor, tag: _Tag) -> torch.Tensor:
        self.tags[id(value)] = tag
        self.kept.append(value)
        return value

    def _tag(self, value: torch.Tensor) -> _Tag:
        return self.tags.get(id(value), _Tag())

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [one for one in args if isinstance(one, torch.Tensor) and id(one) in self.tags]
        if isinstance(out, torch.Tensor) and given and id(out) not in self.tags:
            self._tagged(out, _follow(self._tag(given[0]), given[0], out, getattr(func, "__name__", "")))
        return out

    def hook(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def keep(layer: nn.Module, inputs: Any, output: Any) -> Any:
            first = inputs[0] if inputs else None
            if not isinstance(first, torch.Tensor) or not isinstance(output, torch.Tensor):
                return None
            self._note(name, layer, first)
            if isinstance(layer, _PADS):
                return None
            # Positive everywhere, so that zeros are padding and nothing else.
            return self._tagged(output.abs() + 1, self._after(name, layer, first, output))

        return keep

    def _note(self, name: str, layer: nn.Module, given: torch.Tensor) -> None:
        tag = self._tag(given)
        if isinstance(layer, (*_CONVOLUTIONS, *_NORMS)):
            self._note_cut(given)
        if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
            self.seen.paddings[name] = _padding(layer, given)
        if isinstance(layer, (*_CONVOLUTIONS, *_NORMS)) and given.dim() > 2 and tag.made_by:
            self.seen.outputs |= dict.fromkeys(tag.made_by, tuple(given.shape[1:]))
        if tag.flat is not None and isinstance(layer, nn.Linear):
            self.seen.inputs[name] = tag.flat
        if tag.flat is not None and isinstance(layer, _NORMS):
            self.seen.outputs[name] = tag.flat

    def _note_cut(self, value: torch.Tensor) -> None:
        tag = self._tag(value)
        if tag.cut_from is not None:
            before, size = tag.cut_from
            self.seen.cuts[before] = tuple(a - b for a, b in zip(size, value.shape[2:], strict=True))

    def _after(self, name: str, layer: nn.Module, given: torch.Tensor, output: torch.Tensor) -> _Tag:
        if isinstance(layer, nn.Linear):
            return _Tag(made_by=(name,) if output.dim() == 2 else ())
        if isinstance(layer, _CONVOLUTIONS):
            cut = (name, tuple(output.shape[2:])) if isinstance(layer, nn.ConvTranspose2d) else None
            return _Tag(first=True, cut_from=cut)
        if isinstance(layer, (nn.Embedding, nn.RNNBase)):
            return _Tag()
        tag = _follow(self._tag(given), given, output, "")
        norm = isinstance(layer, _NORMS)
        return replace(tag, made_by=(*tag.made_by, name), cut_from=None) if norm and tag.made_by else tag


def _follow(tag: _Tag, given: torch.Tensor, out: torch.Tensor, function: str) -> _Tag:
    """Return what is known of a function's output."""
    if function in ("linear", "matmul", "mm", "addmm", "bmm", "__matmul__") or out.dim() < 2:
        return _Tag()
    if out.shape == given.shape and function not in _TURNS:
        return tag
    if given.dim() > 2 and out.dim() == 2 and out.numel() == given.numel():
        return _Tag(flat=tuple(given.shape[1:])) if tag.first else _Tag()
    if given.dim() == 2 and out.dim() > 2 and out.numel() == given.numel():
        return _Tag(first=True, made_by=tag.made_by)
    if function in _TURNS:
        return _Tag(first=not tag.first and out.dim() > 2)
    kept = out.dim() == given.dim() > 2 and out.shape[1] == given.shape[1]
    return _Tag(first=tag.first and kept, cut_from=tag.cut_from if kept else None)


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
