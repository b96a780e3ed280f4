"""``shardwright verify``: check every byte."""

import argparse
from pathlib import Path

from datasets.base.progress import readable_bytes
from datasets.cli.console import complain, say
from datasets.cli.exit_codes import DAMAGE, DONE

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
  shardwright verify out
  shardwright verify out --split validation
"""


def configure(parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("dataset_path", metavar="PATH", type=Path, help="the OUTPUT of a conversion")
    parser.add_argument("--split", help="default: all splits")
    parser.add_argument("--data-path", type=Path, help="folder of the shard files, if they lie elsewhere")


def run(options: argparse.Namespace) -> int:
    """Print one line per problem."""
    from datasets.base.verify import verify  # torch is slow to import

    report = verify(options.dataset_path, options.split, progress=None, data_path=options.data_path)
    for problem in report.problems:
        say(str(problem))
    for path in report.left_over:
        say(f"{path}: left by an unfinished conversion; harmless")
    if not report.ok:
        complain(
            f"shardwright: {options.dataset_path}: {len(report.problems):,} problems found; "
            "restore the named files from a copy, or convert again with --overwrite"
        )
        return DAMAGE
    what = f"{report.samples:,} samples, {report.files:,} files, {readable_bytes(report.nbytes)}"
    say(f"{options.dataset_path}: {', '.join(report.splits)}: all right ({what})")
    return DONE
