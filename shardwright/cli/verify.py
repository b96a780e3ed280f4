"""``shardwright verify``: check every byte."""

import argparse
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from shardwright.base.progress import readable_bytes
from shardwright.cli.console import complain, say
from shardwright.cli.exit_codes import DAMAGE, DONE
from shardwright.cli.words import as_typed, counted

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
  shardwright verify out
  shardwright verify out --split validation
"""

SHOWN = 10  # problems of one file; --all has all


def configure(parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("dataset_path", metavar="PATH", type=Path, help="the OUTPUT of a conversion")
    parser.add_argument("--split", metavar="NAME", help="default: all splits")
    parser.add_argument(
        "--data-path", type=Path, metavar="PATH", help="folder of the shard files, if they lie elsewhere"
    )
    parser.add_argument("--all", action="store_true", help=f"list every damaged sample, not {SHOWN} of each file")


def run(options: argparse.Namespace) -> int:
    """Print one line per problem."""
    from shardwright.base.verify import verify  # torch is slow to import

    report = verify(options.dataset_path, options.split, progress=None, data_path=options.data_path)
    for path, found in groupby(report.problems, attrgetter("path")):
        problems = [as_typed(str(problem), options.parser) for problem in found]
        shown = problems if options.all else problems[:SHOWN]
        say("\n".join(shown))
        if len(shown) < len(problems):
            say(f"{path}: {counted(len(problems) - SHOWN, 'more problem')}; --all lists them")
    for path in report.left_over:
        say(f"{path}: left by an unfinished conversion; harmless")
    if not report.ok:
        complain(
            f"shardwright: {options.dataset_path}: {counted(len(report.problems), 'problem')} found; "
            "restore the named files from a copy, or convert again with --overwrite"
        )
        return DAMAGE
    what = f"{counted(report.samples, 'sample')}, {counted(report.files, 'file')}, {readable_bytes(report.nbytes)}"
    say(f"{options.dataset_path}: {', '.join(report.splits)}: all right ({what})")
    return DONE
