"""``shardwright export``: a split as the files of other tools."""

import argparse
from pathlib import Path

from shardwright.base.errors import ConfigError
from shardwright.base.formats import export_targets
from shardwright.cli.console import say
from shardwright.cli.signals import stop_on_signals

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
  shardwright export out photos --to folder               (class folders with the image files)
  shardwright export out records --to tfrecord --split validation
  shardwright export pixels digits.npz --to npz           (x_train, y_train; images of one size)
  shardwright export out tars --to webdataset --columns image,label

The output appears when it is complete; one that exists is never touched.
"""


def configure(parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("input_data", metavar="INPUT", type=Path, help="a converted dataset, or a folder of images")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="a folder, or an .npz file, that does not exist")
    targets = export_targets()
    summaries = "; ".join(f"{name}: {record.export(name).summary}" for name, record in targets.items())
    parser.add_argument("--to", required=True, choices=targets, metavar="NAME", help=summaries)
    parser.add_argument("--split", metavar="NAME", default="train", help="default: train")
    parser.add_argument("--columns", metavar="NAME,NAME", help="export these fields only")
    parser.add_argument("--images-per-file", type=int, default=1000, metavar="N", help="of TFRecord and tar files")
    parser.add_argument(
        "--data-path", type=Path, metavar="PATH", help="folder of the shard files, if they lie elsewhere"
    )
    parser.set_defaults(stopped="nothing was written")


def run(options: argparse.Namespace) -> None:
    """Export, and say where it is."""
    from shardwright.base.export import export

    if not options.input_data.exists():
        raise ConfigError(f"INPUT {options.input_data} does not exist; check the path")
    with stop_on_signals():
        export(
            options.input_data,
            options.output,
            options.to,
            split=options.split,
            columns=options.columns.split(",") if options.columns else None,
            images_per_file=options.images_per_file,
            data_path=options.data_path,
            progress=None,
        )
    say(f"{options.output}: written, {export_targets()[options.to].export(options.to).summary}")
