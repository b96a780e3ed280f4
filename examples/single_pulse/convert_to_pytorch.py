r"""Write a model's weights as a .pth file: random ones as a template, or those of a trained Keras model.

python -m examples.single_pulse.convert_to_pytorch MODEL_NAME OUT.pth [--resolution 256] [--from-keras MODEL.h5]
"""

import argparse
import sys
from pathlib import Path

import torch

from examples.common.fit import save_checkpoint
from examples.single_pulse.training_models import MODELS, make_model
from examples.tf_to_pytorch.keras_weights import load_keras_weights
from shardwright import ConfigError, ShardwrightError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: not, and stderr says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_name", metavar="MODEL_NAME", help=", ".join(MODELS))
    parser.add_argument("output", type=Path, metavar="OUT.pth")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--from-keras", type=Path, metavar="MODEL.h5", help=".h5, .keras or .weights.h5")
    parser.add_argument("--seed", type=int, default=42, help="of random weights")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.pth")
    options = parser.parse_args(arguments)
    try:
        if options.output.exists() and not options.overwrite:
            raise ConfigError(f"{options.output} is there: pass --overwrite, or another name")
        torch.manual_seed(options.seed)
        model = make_model(options.model_name, options.resolution)
        if options.from_keras:
            shape = (1, options.resolution, options.resolution)
            print(*load_keras_weights(model, options.from_keras, shape), sep="\n")
        save_checkpoint(options.output, {"model_state_dict": model.state_dict()})
    except (ShardwrightError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    kind = f"weights of {options.from_keras}" if options.from_keras else "random weights"
    print(f"{options.output}: {options.model_name}, {options.resolution} x {options.resolution}, {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
