"""``shardwright finalize``: publish a split whose shards are all written."""

import argparse
from pathlib import Path

from shardwright.cli.console import say
from shardwright.cli.words import counted

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
  shardwright finalize out
  shardwright finalize out --split validation
"""


def configure(parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("dataset_path", metavar="PATH", type=Path, help="the OUTPUT of the conversion")
    parser.add_argument("--split", metavar="NAME", default="train", help="default: train")


def run(options: argparse.Namespace) -> None:
    """Publish, or say which shards are missing."""
    from shardwright.base.writing.finish import finalize  # torch is slow to import

    manifest = finalize(options.dataset_path, options.split)
    count, shards = counted(manifest.num_samples, "image"), counted(len(manifest.shards), "shard")
    say(f"{options.dataset_path}: split {manifest.split} is published: {count} in {shards}")
