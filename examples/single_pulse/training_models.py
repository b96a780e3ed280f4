"""The classifiers of DM-time planes, under the names that configurations use; all return logits."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from shardwright import ConfigError

__all__ = ["MODELS", "DM_time_binary_classificator", "make_model"]

# Filters of the convolutions, and units of the dense layer, by resolution.
WIDTHS: Mapping[str, Mapping[int, tuple[tuple[int, ...], int]]] = {
    "_1": {256: ((16,), 256), 128: ((8,), 128), 64: ((8,), 256), 32: ((16,), 256)},
    "_2": {256: ((16, 16), 512), 128: ((16, 16), 128), 64: ((16, 16), 128), 32: ((16, 16), 512)},
    "_3": {256: ((8, 8, 12), 256), 128: ((8, 12, 12), 256), 64: ((8, 12, 8), 512), 32: ((8, 12, 12), 512)},
}
KERNEL = 5


class DM_time_binary_classificator(nn.Module):  # noqa: N801  # the name that the projects' configurations hold
    """Convolutions of 5 x 5 with ReLU, 2 x 2 pooling between them, one dense layer, and two logits.

    Parameters
    ----------
    filters : tuple of int
        Of each convolution; the last one is not pooled.
    dense : int
        Units of the dense layer.
    resolution : int
        Rows and columns of a plane.
    average : bool
        Average each map in place of laying it flat.

    Notes
    -----
    Planes are (N, 1, H, W), float, 0 to 1.
    """

    def __init__(self, filters: tuple[int, ...], dense: int, resolution: int, average: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size, channels = resolution, 1
        for number, width in enumerate(filters):
            if number:
                layers.append(nn.MaxPool2d(2))
                size //= 2
            layers += [nn.Conv2d(channels, width, KERNEL), nn.ReLU()]
            size, channels = size - KERNEL + 1, width
        if size < 1:
            raise ConfigError(f"resolution {resolution} is too small for {len(filters)} convolutions")
        self.convolutions = nn.Sequential(*layers)
        self.average = nn.AdaptiveAvgPool2d(1) if average else nn.Identity()
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(channels * (1 if average else size * size), dense)
        self.logits = nn.Linear(dense, 2)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 2)."""
        features = self.flatten(self.average(self.convolutions(planes)))
        return self.logits(torch.relu(self.dense(features)))


def _model(kind: str, average: bool = False) -> type[nn.Module]:
    """Return a class whose only argument is the resolution."""

    class Model(DM_time_binary_classificator):
        def __init__(self, resolution: int = 256) -> None:
            if resolution not in WIDTHS[kind]:
                raise ConfigError(f"resolution {resolution}: there are {', '.join(map(str, WIDTHS[kind]))}")
            super().__init__(*WIDTHS[kind][resolution], resolution, average)

    Model.__name__ = Model.__qualname__ = f"DM_time_binary_classificator_241002{kind}" + ("_GAP" if average else "")
    return Model


DM_time_binary_classificator_241002_1 = _model("_1")
DM_time_binary_classificator_241002_2 = _model("_2")
DM_time_binary_classificator_241002_3 = _model("_3")
DM_time_binary_classificator_241002_3_GAP = _model("_3", average=True)
MODELS: Mapping[str, Any] = {
    model.__name__: model
    for model in (
        DM_time_binary_classificator_241002_1,
        DM_time_binary_classificator_241002_2,
        DM_time_binary_classificator_241002_3,
        DM_time_binary_classificator_241002_3_GAP,
    )
}


def make_model(name: str, resolution: int) -> nn.Module:
    """Return the model of that name, with random weights.

    Raises
    ------
    ConfigError
        If there is none: the message lists those that there are.
    """
    if name not in MODELS:
        raise ConfigError(f"model_name {name!r} is not known; there are {', '.join(MODELS)}")
    model: nn.Module = MODELS[name](resolution)
    return model
