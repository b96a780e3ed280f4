"""``shardwright formats``: the table of formats, and which doors each has."""

import argparse
from collections.abc import Sequence

from shardwright.base.formats import Format, technologies
from shardwright.cli.console import say

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = "  shardwright formats\n"

DOORS = ("", "converter", "reader", "source", "in place", "export")
MEANING = """\
converter  writes it; reader: reads what was converted to it, or indexed in place
source     its files, whoever wrote them, can be converted; in place: or be indexed where they lie
export     what `shardwright export --to` writes
"""


def configure(_parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add nothing: the command has no arguments."""


def run(_options: argparse.Namespace) -> None:
    """Print which doors each format has, and a line about each."""
    records = sorted(technologies(), key=lambda record: record.name)
    for line in _aligned([DOORS, *(_doors(record, records) for record in records)]):
        say(line)
    say(f"\n{MEANING}")
    for line in _aligned([(record.name, record.suffix, record.summary) for record in records]):
        say(line)


def _doors(record: Format, records: Sequence[Format]) -> tuple[str, ...]:
    """Return one line of the matrix; a format's files may be read by the source of another one."""
    other = record if record.source else _same_files(record, records)
    source = "yes" if other is record else other.name if other else ""
    classes = (target.partition(":")[2] for target in (record.converter, record.reader))
    in_place = "yes" if other and other.in_place else ""
    exports = ", ".join(export.name for export in record.exports)
    return (record.name, *(cell or "-" for cell in (*classes, source, in_place, exports)))


def _same_files(record: Format, records: Sequence[Format]) -> Format | None:
    return next((other for other in records if other.source and record.reader and other.reader == record.reader), None)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with columns of one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
