"""Convert ImageNet-1k, from its archives or from folders, with one process or with hundreds.

The archives are read in place. Started by ``srun``, ``torchrun`` or ``mpirun`` the processes
share the work; one that is killed loses the shard it was writing, and the same command
goes on from there. README.md beside this file has the commands.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from shardwright.base.errors import ShardwrightError
from shardwright.base.formats import format_names, get_format
from shardwright.cli.signals import Stopped, stop_on_signals
from shardwright.tar.imagenet import imagenet_validation
from shardwright.tar.source import is_archive
from shardwright.training.distributed import launched


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", metavar="PATH", help="ILSVRC2012_img_train.tar, or a folder of class folders")
    parser.add_argument("--validation", metavar="PATH", help="ILSVRC2012_img_val.tar, or a folder of class folders")
    parser.add_argument("--devkit", metavar="PATH", help="ILSVRC2012_devkit_t12.tar.gz, for the validation archive")
    parser.add_argument("--output-path", metavar="DIR", type=Path, required=True)
    parser.add_argument("--format", choices=format_names(), default="parquet")
    parser.add_argument("--image-size", metavar="PIXELS", type=int, default=224, help="side, for memmap and hdf5")
    parser.add_argument("--images-per-file", metavar="N", type=int, default=1000)
    parser.add_argument("--num-workers", metavar="N", type=int, default=0, help="worker processes of each process")
    parser.add_argument("--wait-timeout", metavar="SECONDS", type=float, default=3600.0)
    parser.add_argument("--rank", type=int, help="with --num-replicas, where no launcher says it")
    parser.add_argument("--num-replicas", type=int)
    arguments = parser.parse_args()
    if not (arguments.train or arguments.validation):
        parser.error("give --train, --validation or both")
    return arguments


def inputs(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the split names with what is converted into them."""
    found = {"train": arguments.train, "validation": arguments.validation}
    if arguments.devkit and arguments.validation and is_archive(arguments.validation):
        found["validation"] = imagenet_validation(arguments.validation, arguments.devkit)
    return {split: data for split, data in found.items() if data}


def convert(arguments: argparse.Namespace, split: str, data: Any) -> None:
    """Convert one split, or the share of it that is this process's."""
    converter = get_format(arguments.format).load_converter()
    options = {"shape": (arguments.image_size, arguments.image_size)} if converter.fixed_size else {}
    manifest = converter(
        input_data=data,
        output_path=arguments.output_path,
        split=split,
        images_per_file=arguments.images_per_file,
        num_workers=arguments.num_workers,
        dist=arguments.rank is None and launched(),
        rank=arguments.rank,
        num_replicas=arguments.num_replicas,
        wait_timeout=arguments.wait_timeout,
        **options,
    ).convert()
    print(f"{split}: {manifest.num_samples:,} images in {len(manifest.shards):,} shards, published", flush=True)


def main() -> int:
    """Do what the command line asks for, and return the exit code."""
    arguments = parse_arguments()
    try:
        with stop_on_signals():
            for split, data in inputs(arguments).items():
                convert(arguments, split, data)
    except Stopped as stopped:
        print(f"stopped by {stopped}: run the same command again to go on", file=sys.stderr)
        return 128 + stopped.number
    except ShardwrightError as error:
        print(f"process {os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
