"""Weight files of Keras 2 and 3: the layers in them, with their arrays; nothing in a file is run or unpickled.

``.keras`` is a zip of ``config.json`` and ``model.weights.h5``; ``.weights.h5`` names layers by attribute,
or by class and number; ``.h5`` (Keras 2, or `save_weights` of old) names them as the user did.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from shardwright import ShardwrightError
from shardwright.base.storage.atomic import write_bytes

__all__ = ["KerasFile", "KerasLayer", "WeightsError", "read_keras_file", "write_keras_file"]

WEIGHTS = "model.weights.h5"
RATIO = 16  # weights hardly get smaller when compressed: what claims more than this is no weights file
_SKIPPED = {"optimizer", "optimizer_weights", "seed_generator", "_metrics", "metrics"}
# Groups inside a layer: the cells and directions of recurrent layers are one layer with all their arrays.
_INNER = re.compile(r"vars|cell|forward_layer|backward_layer|(lstm|gru)_cell(_\d+)?|(forward|backward)_\w+")
_DEFAULT_NAMES = {
    "dense": "Dense",
    "conv1d": "Conv1D",
    "conv2d": "Conv2D",
    "conv2d_transpose": "Conv2DTranspose",
    "depthwise_conv2d": "DepthwiseConv2D",
    "batch_normalization": "BatchNormalization",
    "layer_normalization": "LayerNormalization",
    "embedding": "Embedding",
    "lstm": "LSTM",
    "gru": "GRU",
    "bidirectional": "Bidirectional",
}


class WeightsError(ShardwrightError):
    """A file or a module whose weights cannot be converted: the message says what, where and how to mend."""


@dataclass(frozen=True)
class KerasLayer:
    """One layer of a file: its path there, its own name, its class, its arrays in Keras' order.

    Parameters
    ----------
    path : tuple of str
        Where it lies: attribute names, or class and number (``("conv2d_1",)``).
    name : str
        What the user, or Keras, called it.
    kind : str or None
        ``"Conv2D"``, ``"Bidirectional(LSTM)"``, ...; ``None``: the file does not say.
    arrays : dict of str to ndarray
        Place in the HDF5 file to values.
    config : dict
        Its options, where the file has them.
    """

    path: tuple[str, ...]
    name: str
    kind: str | None
    arrays: dict[str, NDArray[Any]]
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KerasFile:
    """All layers of a file, in the order of the model; `without_arrays` have no weights: name, class, options."""

    path: Path
    layers: tuple[KerasLayer, ...]
    without_arrays: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()
    input_shape: tuple[int, ...] | None = None  # of one sample, channels last; None: the file does not say


class _Described(NamedTuple):
    """What config.json says of one layer."""

    order: int
    kind: str
    config: Mapping[str, Any]


def read_keras_file(path: Path) -> KerasFile:
    """Read the layers of a ``.keras``, ``.weights.h5`` or ``.h5`` file.

    Raises
    ------
    WeightsError
        If it is none, is cut, or claims sizes that it cannot hold.
    """
    path = Path(path)
    try:
        if not zipfile.is_zipfile(path):
            with h5py.File(path, "r") as file:
                return _layers_of(path, file, _config_in(file), path.stat().st_size)
        config, weights = _unzipped(path)
        with h5py.File(io.BytesIO(weights), "r") as file:
            return _layers_of(path, file, config, len(weights))
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read as a Keras file ({error}); give a .keras, .weights.h5 or .h5 file, whole"
        ) from error
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise WeightsError(
            f"{path} is cut, or no .keras file ({error}); save the model again with model.save()"
        ) from error


def _unzipped(path: Path) -> tuple[dict[str, Any], bytes]:
    limit = RATIO * path.stat().st_size + 2**20
    with zipfile.ZipFile(path) as archive:
        for name in ("config.json", WEIGHTS):
            size = archive.getinfo(name).file_size
            if size > limit:
                raise WeightsError(
                    f"{path}: {name} claims {size:,} bytes, in a file of {path.stat().st_size:,}: not read"
                )
        config = json.loads(archive.read("config.json"))
        return config if isinstance(config, dict) else {}, archive.read(WEIGHTS)


def _config_in(file: h5py.File) -> dict[str, Any]:
    text = file.attrs.get("model_config")
    config = json.loads(text) if isinstance(text, (str, bytes)) else None
    return config if isinstance(config, dict) else {}


def _layers_of(path: Path, file: h5py.File, config: dict[str, Any], size: int) -> KerasFile:
    described = {name: _Described(i, *more) for i, (name, *more) in enumerate(_described(config))}
    groups: dict[tuple[str, ...], dict[str, NDArray[Any]]] = {}
    for place in _places(path, file):
        groups.setdefault(_layer_path(place), {})[place] = _array(path, file, place, size)
    layers = [_layer(file, key, arrays, described) for key, arrays in groups.items()]
    if all(layer.name in described for layer in layers):
        layers.sort(key=lambda layer: described[layer.name].order)
    named = {layer.name for layer in layers}
    bare = [(name, about.kind, about.config) for name, about in described.items() if name not in named]
    return KerasFile(path, tuple(layers), tuple(bare), _input_shape(config))


def _places(path: Path, file: h5py.File) -> list[str]:
    """Return the places of all arrays of layers: in the order of `layer_names`, else of the names' numbers."""
    top = file["model_weights"] if isinstance(file.get("model_weights"), h5py.Group) else file
    if "layer_names" in top.attrs or "layer_names0" in top.attrs:
        return [
            f"{top.name}/{layer}/{weight}".replace("//", "/")
            for layer in _texts(top, "layer_names")
            for weight in _texts(top[layer], "weight_names")
        ]
    return list(_walk(path, file, ""))


def _texts(group: h5py.Group, name: str) -> Iterator[str]:
    """Yield an attribute's texts, which Keras 2 cuts into several attributes if there are many."""
    parts = (
        [name]
        if name in group.attrs
        else [f"{name}{i}" for i in range(len(group.attrs)) if f"{name}{i}" in group.attrs]
    )
    for part in parts:
        for text in group.attrs[part]:
            yield text.decode() if isinstance(text, bytes) else str(text)


def _walk(path: Path, group: h5py.Group, prefix: str) -> Iterator[str]:
    for name in sorted(group, key=_natural):
        place = f"{prefix}/{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise WeightsError(f"{path}: {place} is a link to somewhere else: not followed")
        if name in _SKIPPED:
            continue
        if isinstance(group[name], h5py.Group):
            yield from _walk(path, group[name], place)
        else:
            yield place


def _natural(name: str) -> tuple[Any, ...]:
    """Sort conv2d_10 after conv2d_2, and the forward direction first."""
    stem, number = re.fullmatch(r"(.*?)_?(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return name.startswith("backward"), stem, int(number or 0)


def _array(path: Path, file: h5py.File, place: str, size: int) -> NDArray[Any]:
    found = file.get(place)
    if not isinstance(found, h5py.Dataset):
        raise WeightsError(f"{path}: it names {place}, which is not there: the file is cut or damaged")
    if found.external or found.is_virtual:
        raise WeightsError(f"{path}: {place} lies in another file: not read")
    if found.nbytes > RATIO * size or (found.nbytes and not found.id.get_storage_size()):
        raise WeightsError(f"{path}: {place} claims {found.nbytes:,} bytes, in a file of {size:,}: not read")
    if found.dtype.kind != "f":
        raise WeightsError(f"{path}: {place} holds {found.dtype}, not floating-point weights")
    values: NDArray[Any] = found[()]
    return values


def _layer_path(place: str) -> tuple[str, ...]:
    """Return the layer of an array: its place without what lies inside a layer."""
    parts = [part for part in place.split("/")[:-1] if part not in ("", "model_weights", "layers")]
    while parts and _INNER.fullmatch(parts[-1]):
        parts.pop()
    return tuple(parts)


def _layer(
    file: h5py.File, key: tuple[str, ...], arrays: dict[str, NDArray[Any]], described: Mapping[str, _Described]
) -> KerasLayer:
    name = _own_name(file, key, next(iter(arrays)))
    about = described.get(name)
    kind = about.kind if about else _DEFAULT_NAMES.get(re.sub(r"_\d+$", "", name))
    config = about.config if about else {}
    if kind == "Bidirectional":
        kernel, recurrent, *_ = arrays.values()
        kind = f"Bidirectional({'LSTM' if kernel.shape[-1] == 4 * recurrent.shape[0] else 'GRU'})"
    return KerasLayer(key, name, kind, arrays, config)


def _own_name(file: h5py.File, key: tuple[str, ...], place: str) -> str:
    """Return the name that the layer has in the model: Keras 3 keeps it beside the arrays."""
    if "/vars/" not in place:
        return key[-1] if key else ""
    folder = place.split("/vars/", maxsplit=1)[0]
    while folder and _INNER.fullmatch(folder.rsplit("/", 1)[-1]):
        folder = folder.rsplit("/", 1)[0]
    group = file.get(f"{folder}/vars")
    return str(group.attrs.get("name", key[-1])) if isinstance(group, h5py.Group) else key[-1]


def _described(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield name, class and options of every layer that a model's config names, nested models too."""
    inner = config.get("config")
    entries = inner if isinstance(inner, list) else inner.get("layers", []) if isinstance(inner, dict) else []
    for entry in entries if isinstance(entries, list) else []:
        options = entry.get("config") if isinstance(entry, dict) else None
        if not isinstance(options, dict):
            continue
        if "layers" in options:
            yield from _described(entry)
        else:
            yield str(options.get("name", entry.get("name"))), str(entry.get("class_name")), options


def _input_shape(config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the shape of one sample, if all its sizes are known."""
    options = [entry for _, _, entry in _described(config)]
    build = config.get("build_config")
    shapes = [entry.get("batch_shape") or entry.get("batch_input_shape") for entry in options[:1]]
    shapes.append(build.get("input_shape") if isinstance(build, dict) else None)
    for shape in shapes:
        if isinstance(shape, list) and len(shape) > 1 and all(type(n) is int for n in shape[1:]):
            return tuple(shape[1:])
    return None


def write_keras_file(like: KerasFile, arrays: Mapping[str, NDArray[Any]], output: Path) -> None:
    """Write a copy of a file with other values in some of its arrays; whole or not at all."""
    source = like.path.read_bytes()
    if zipfile.is_zipfile(like.path):
        data = io.BytesIO()
        with zipfile.ZipFile(like.path) as old, zipfile.ZipFile(data, "w") as new:
            for info in old.infolist():
                content = old.read(info)
                new.writestr(info, _filled(content, arrays) if info.filename == WEIGHTS else content)
        content = data.getvalue()
    else:
        content = _filled(source, arrays)
    write_bytes(Path(output), content)


def _filled(content: bytes, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    data = io.BytesIO(content)
    with h5py.File(data, "r+") as file:
        for place, values in arrays.items():
            file[place][...] = np.asarray(values, file[place].dtype)
    return data.getvalue()
