"""``shardwright formats``: the table of formats."""

import argparse

from shardwright.base.formats import format_names, get_format
from shardwright.cli.console import say

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = "  shardwright formats\n"


def configure(_parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add nothing: the command has no arguments."""


def run(_options: argparse.Namespace) -> None:
    """Print one line per format."""
    records = [get_format(name) for name in format_names()]
    widths = [max(len(getattr(r, part)) for r in records) for part in ("name", "suffix")]
    for r in records:
        say(f"{r.name:<{widths[0]}}  {r.suffix:<{widths[1]}}  {r.summary}")
