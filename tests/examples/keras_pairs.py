"""Keras models and the same in PyTorch: one pair for every kind of layer, and the models of whole projects."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from torch import nn

L = keras.layers
F = nn.functional

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """How to make both models, and the shape of one sample, channels last."""

    keras: Callable[[], Any]
    torch: Callable[[], nn.Module]
    shape: Shape
    integers: int = 0  # the number of ids, where the input is ids


def sequential(shape: Shape, *made: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: keras.Sequential([keras.Input(shape), *(layer() for layer in made)])


class Only(nn.Module):
    """The output of a recurrent layer: of all steps, or of the last."""

    def __init__(self, layer: nn.Module, last: bool = False) -> None:
        super().__init__()
        self.layer, self.last = layer, last

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        out, _ = self.layer(value)
        return out[:, -1] if self.last else out


class Turned(nn.Module):
    """One-dimensional convolutions on N, L, C, as in Keras."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.layers(value.transpose(1, 2)).transpose(1, 2)


class Cut(nn.Module):
    """Without the last rows and columns: a layer of its own or not, the converter sees what the next one gets."""

    def __init__(self, rows: int = 1) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value[..., : -self.rows, : -self.rows]


def conv_same_stride2(channels: int, filters: int) -> list[nn.Module]:
    """Keras pads even sizes at the end only."""
    return [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, filters, 3, stride=2)]


class Encoder(nn.Module):
    """Of the face VAE, at 32 x 32."""

    def __init__(self, width: int = 8, latent: int = 6) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for i in range(4):
            blocks += [*conv_same_stride2(3 if i == 0 else width, width), nn.BatchNorm2d(width, eps=1e-3)]
            blocks.append(nn.LeakyReLU(0.3))
        self.blocks, self.flatten = nn.Sequential(*blocks), nn.Flatten()
        self.mean, self.log_var = nn.Linear(4 * width, latent), nn.Linear(4 * width, latent)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        features = self.flatten(self.blocks(value))
        return torch.cat([self.mean(features), self.log_var(features)], dim=1)


class Decoder(nn.Module):
    def __init__(self, width: int = 8, latent: int = 6) -> None:
        super().__init__()
        self.width = width
        self.dense, self.norm = nn.Linear(latent, 4 * width), nn.BatchNorm1d(4 * width, eps=1e-3)
        blocks: list[nn.Module] = []
        for _ in range(4):
            blocks += [nn.ConvTranspose2d(width, width, 3, stride=2), Cut(), nn.BatchNorm2d(width, eps=1e-3)]
            blocks.append(nn.LeakyReLU(0.3))
        self.blocks, self.last = nn.Sequential(*blocks), nn.Conv2d(width, 3, 3, padding="same")

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        maps = F.leaky_relu(self.norm(self.dense(value)), 0.3).unflatten(1, (self.width, 2, 2))
        return torch.sigmoid(self.last(self.blocks(maps)))


def keras_encoder(width: int = 8, latent: int = 6) -> Any:
    given = keras.Input((32, 32, 3))
    value = given
    for _ in range(4):
        value = L.Conv2D(width, 3, strides=2, padding="same")(value)
        value = L.LeakyReLU(negative_slope=0.3)(L.BatchNormalization()(value))
    value = L.Flatten()(value)
    both = [L.Dense(latent, name="mean")(value), L.Dense(latent, name="log_var")(value)]
    return keras.Model(given, L.Concatenate()(both))


def keras_decoder(width: int = 8, latent: int = 6) -> Any:
    made: list[Any] = [keras.Input((latent,)), L.Dense(4 * width), L.BatchNormalization()]
    made += [L.LeakyReLU(negative_slope=0.3), L.Reshape((2, 2, width))]
    for _ in range(4):
        made += [L.Conv2DTranspose(width, 3, strides=2, padding="same"), L.BatchNormalization()]
        made.append(L.LeakyReLU(negative_slope=0.3))
    return keras.Sequential([*made, L.Conv2D(3, 3, padding="same", activation="sigmoid")])


class SinglePulse(nn.Module):
    """Of the single-pulse project: three convolutions with pooling between them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 12, 5), nn.ReLU()),
        )
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(12 * 9 * 9, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.dense(self.convolutions(value)), dim=1)


def keras_single_pulse() -> Any:
    made: list[Any] = [keras.Input((64, 64, 1)), L.Conv2D(8, 5, activation="relu"), L.MaxPooling2D()]
    made += [L.Conv2D(8, 5, activation="relu"), L.MaxPooling2D(), L.Conv2D(12, 5, activation="relu"), L.Flatten()]
    return keras.Sequential([*made, L.Dense(32, activation="relu"), L.Dense(2, activation="softmax")])


class Domains(nn.Module):
    """Of the domains project: dense, convolutions, a recurrent layer and attention over its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.embed_norm = nn.Linear(47, 32), nn.BatchNorm1d(32, eps=1e-3)
        self.conv1, self.norm1 = nn.Conv1d(1, 8, 3, padding="same"), nn.BatchNorm1d(8, eps=1e-3)
        self.conv2, self.norm2 = nn.Conv1d(8, 6, 3, padding="same"), nn.BatchNorm1d(6, eps=1e-3)
        self.recurrent = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.attention, self.score = nn.Linear(10, 7), nn.Linear(7, 1)
        self.hidden, self.logits = nn.Linear(10, 8), nn.Linear(8, 3)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        steps = self.embed_norm(self.embed(value).relu()).unsqueeze(1)
        steps = self.norm1(self.conv1(steps).relu())
        steps = F.max_pool1d(self.norm2(self.conv2(steps).relu()), 2).transpose(1, 2)
        steps, _ = self.recurrent(steps)
        weights = self.score(torch.tanh(self.attention(steps))).softmax(dim=1)
        return self.logits(self.hidden((weights * steps).sum(dim=1)).relu())


def keras_domains() -> Any:
    given = keras.Input((47,))
    value = L.BatchNormalization()(L.Dense(32, activation="relu")(given))
    value = L.Reshape((32, 1))(value)
    value = L.BatchNormalization()(L.Conv1D(8, 3, padding="same", activation="relu")(value))
    value = L.BatchNormalization()(L.Conv1D(6, 3, padding="same", activation="relu")(value))
    value = L.Bidirectional(L.LSTM(5, return_sequences=True))(L.MaxPooling1D(2)(value))
    scores = L.Softmax(axis=1)(L.Dense(1)(L.Dense(7, activation="tanh")(value)))
    value = L.Flatten()(L.Dot(axes=1)([scores, value]))
    return keras.Model(given, L.Dense(3)(L.Dense(8, activation="relu")(value)))


PAIRS = {
    "Dense": Pair(sequential((7,), lambda: L.Dense(4)), lambda: nn.Sequential(nn.Linear(7, 4)), (7,)),
    "Dense without bias": Pair(
        sequential((7,), lambda: L.Dense(4, use_bias=False)), lambda: nn.Sequential(nn.Linear(7, 4, bias=False)), (7,)
    ),
    "Conv1D same": Pair(
        sequential((9, 3), lambda: L.Conv1D(4, 3, padding="same")),
        lambda: Turned(nn.Conv1d(3, 4, 3, padding="same")),
        (9, 3),
    ),
    "Conv1D causal": Pair(
        sequential((9, 3), lambda: L.Conv1D(4, 3, padding="causal", dilation_rate=2)),
        lambda: Turned(nn.ConstantPad1d((4, 0), 0), nn.Conv1d(3, 4, 3, dilation=2)),
        (9, 3),
    ),
    "Conv2D valid": Pair(
        sequential((9, 8, 3), lambda: L.Conv2D(4, (3, 2))), lambda: nn.Sequential(nn.Conv2d(3, 4, (3, 2))), (9, 8, 3)
    ),
    "Conv2D same, even kernel": Pair(
        sequential((9, 8, 3), lambda: L.Conv2D(4, 4, padding="same")),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 4, padding="same")),
        (9, 8, 3),
    ),
    "Conv2D same, stride 2": Pair(
        sequential((8, 6, 3), lambda: L.Conv2D(4, 3, strides=2, padding="same")),
        lambda: nn.Sequential(*conv_same_stride2(3, 4)),
        (8, 6, 3),
    ),
    "Conv2D same, stride 2, odd size": Pair(
        sequential((7, 7, 3), lambda: L.Conv2D(4, 3, strides=2, padding="same")),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1)),
        (7, 7, 3),
    ),
    "Conv2DTranspose same, stride 2": Pair(
        sequential((4, 5, 3), lambda: L.Conv2DTranspose(6, 3, strides=2, padding="same"), L.ReLU),
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 3, stride=2), Cut(), nn.ReLU()),
        (4, 5, 3),
    ),
    "Conv2DTranspose valid": Pair(
        sequential((4, 5, 3), lambda: L.Conv2DTranspose(6, 3, strides=2)),
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 3, stride=2)),
        (4, 5, 3),
    ),
    "DepthwiseConv2D": Pair(
        sequential((9, 8, 3), lambda: L.DepthwiseConv2D(3, depth_multiplier=2)),
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3)),
        (9, 8, 3),
    ),
    "BatchNormalization": Pair(
        sequential((6, 5, 4), L.BatchNormalization),
        lambda: nn.Sequential(nn.BatchNorm2d(4, eps=1e-3)),
        (6, 5, 4),
    ),
    "LayerNormalization": Pair(
        sequential((6, 4), L.LayerNormalization), lambda: nn.Sequential(nn.LayerNorm(4, eps=1e-3)), (6, 4)
    ),
    "Embedding": Pair(
        sequential((5,), lambda: L.Embedding(11, 3)), lambda: nn.Sequential(nn.Embedding(11, 3)), (5,), 11
    ),
    "LSTM": Pair(
        sequential((6, 3), lambda: L.LSTM(4, return_sequences=True)),
        lambda: Only(nn.LSTM(3, 4, batch_first=True)),
        (6, 3),
    ),
    "LSTM, last step": Pair(
        sequential((6, 3), lambda: L.LSTM(4)), lambda: Only(nn.LSTM(3, 4, batch_first=True), last=True), (6, 3)
    ),
    "GRU": Pair(
        sequential((6, 3), lambda: L.GRU(4, return_sequences=True)),
        lambda: Only(nn.GRU(3, 4, batch_first=True)),
        (6, 3),
    ),
    "Bidirectional LSTM": Pair(
        sequential((6, 3), lambda: L.Bidirectional(L.LSTM(4, return_sequences=True))),
        lambda: Only(nn.LSTM(3, 4, batch_first=True, bidirectional=True)),
        (6, 3),
    ),
    "Bidirectional GRU": Pair(
        sequential((6, 3), lambda: L.Bidirectional(L.GRU(4, return_sequences=True))),
        lambda: Only(nn.GRU(3, 4, batch_first=True, bidirectional=True)),
        (6, 3),
    ),
    "Dense after Flatten": Pair(
        sequential((4, 5, 3), lambda: L.Conv2D(6, 3), L.Flatten, lambda: L.Dense(4)),
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(36, 4)),
        (4, 5, 3),
    ),
    "norm between Flatten and Dense": Pair(
        sequential((4, 5, 3), lambda: L.Conv2D(6, 3), L.Flatten, L.BatchNormalization, lambda: L.Dense(4)),
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.BatchNorm1d(36, eps=1e-3), nn.Linear(36, 4)),
        (4, 5, 3),
    ),
    "eleven convolutions": Pair(
        sequential((6, 6, 2), *[lambda: L.Conv2D(2, 3, padding="same")] * 11),
        lambda: nn.Sequential(*[nn.Conv2d(2, 2, 3, padding="same") for _ in range(11)]),
        (6, 6, 2),
    ),
    "single pulse": Pair(keras_single_pulse, SinglePulse, (64, 64, 1)),
    "domains": Pair(keras_domains, Domains, (47,)),
    "face encoder": Pair(keras_encoder, Encoder, (32, 32, 3)),
    "face decoder": Pair(keras_decoder, Decoder, (6,)),
}
