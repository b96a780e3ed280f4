r"""Turn the weights of a Keras model into those of a PyTorch module, or back.

    python -m examples.tf_to_pytorch.convert_keras_weights MODEL.keras OUT.pth --model MODULE:CLASS [--config C.json]
    python -m examples.tf_to_pytorch.convert_keras_weights --to-keras IN.pth LIKE.keras OUT.keras --model MODULE:CLASS

MODEL is a .keras, .weights.h5 or .h5 file of Keras 2 or 3; no Keras is needed, and nothing in it is run. OUT.pth
holds the module's state_dict. Back, the weights are filled into a copy of LIKE, so that scripts which load it go on.
CLASS is called with what --config holds (JSON or YAML), as keyword arguments.
"""

import argparse
import importlib
import io
import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from examples.tf_to_pytorch.keras_file import WeightsError
from examples.tf_to_pytorch.keras_weights import Match, load_keras_weights, save_keras_weights
from shardwright import ShardwrightError
from shardwright.base.storage.atomic import write_bytes


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="MODEL OUT.pth; back: LIKE.keras OUT.keras")
    parser.add_argument("--to-keras", type=Path, metavar="IN.pth", help="the other way: a state_dict to fill in")
    parser.add_argument("--model", required=True, metavar="MODULE:CLASS", help="what makes the PyTorch module")
    parser.add_argument("--config", type=Path, help="a JSON or YAML file of the arguments of CLASS")
    parser.add_argument(
        "--input-shape", metavar="C,H,W", help="of one sample, where neither the file nor the module says it"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output")
    options = parser.parse_args(arguments)
    if len(options.files) != 2:
        parser.error("give two files: MODEL OUT.pth, or, after --to-keras IN.pth, LIKE.keras OUT.keras")
    try:
        options.input_shape = options.input_shape and tuple(int(n) for n in options.input_shape.split(","))
    except ValueError:
        parser.error(f"--input-shape {options.input_shape}: give whole numbers with commas, like 1,64,64")
    return options


def make_module(name: str, config: Path | None) -> nn.Module:
    """Return what ``MODULE:CLASS`` makes.

    Raises
    ------
    WeightsError
        If it is not there, or makes no module of the config.
    """
    place, _, attribute = name.partition(":")
    try:
        made: Any = getattr(importlib.import_module(place), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise WeightsError(
            f"--model {name}: {error}; give MODULE:CLASS as Python imports it from here, like package.models:Classifier"
        ) from error
    try:
        module = made(**_read_config(config))
    except TypeError as error:
        raise WeightsError(f"--model {name}: {error}; --config gives the arguments by name") from error
    if not isinstance(module, nn.Module):
        raise WeightsError(f"--model {name} makes {type(module).__name__}, no torch.nn.Module")
    return module


def _read_config(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        text = path.read_text()
        if path.suffix in (".yaml", ".yml"):
            import yaml

            found = yaml.safe_load(text)
        else:
            found = json.loads(text)
    except ModuleNotFoundError as error:
        raise WeightsError(f"{path}: YAML needs PyYAML: pip install 'shardwright[examples]'") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise WeightsError(f"--config {path} holds no names with values")
    return found


def load_state(module: nn.Module, path: Path) -> None:
    """Fill a module with a saved ``state_dict``; nothing is unpickled but tensors.

    Raises
    ------
    WeightsError
        If the file is none, or of another module.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about files that it then refuses
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("model_state_dict", state.get("model", state))
        module.load_state_dict(state)
    except (OSError, RuntimeError, EOFError, AttributeError, TypeError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{path} is no state_dict of {type(module).__name__}: {reason}") from error


def convert(options: argparse.Namespace) -> list[Match]:
    """Do it, and return what went where."""
    first, output = options.files
    if output.exists() and not options.overwrite:
        raise WeightsError(f"{output} is there: pass --overwrite, or another name")
    if not output.parent.is_dir():
        raise WeightsError(f"{output}: there is no folder {output.parent}: make it first")
    module = make_module(options.model, options.config)
    if options.to_keras:
        load_state(module, options.to_keras)
        return save_keras_weights(module, first, output, options.input_shape)
    matches = load_keras_weights(module, first, options.input_shape)
    content = io.BytesIO()
    torch.save(module.state_dict(), content)
    write_bytes(output, content.getvalue())
    return matches


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: not, and stderr says why in one line."""
    options = parse_arguments(arguments)
    try:
        matches = convert(options)
    except ShardwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(*matches, f"{options.files[1]}: {len(matches)} layers", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
