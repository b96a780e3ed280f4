"""Messages of the library in the words of the command line."""

import argparse
import difflib
import re
import shlex
from collections.abc import Iterable, Sequence

__all__ = ["as_typed", "counted", "meant"]

_CALL = re.compile(r"ParquetConverter\(input_data='([^']*)', output_path=\.\.\.\)\.convert\(\)")


def as_typed(message: str, parser: argparse.ArgumentParser | None) -> str:
    """Return a message with ``--on-error skip`` for ``on_error='skip'``, where the command has such an option."""
    flags = _flags(parser)

    def flag(match: re.Match[str]) -> str:
        name, value = "--" + match[1].replace("_", "-"), match[2].strip("'\"")
        if name not in flags:
            return match[0]
        if value in ("True", "False"):
            return f"--no-{name[2:]}" if value == "False" else name
        return f"{name} {value}".rstrip()

    message = _CALL.sub(lambda call: f"shardwright convert {shlex.quote(call[1])} OUTPUT --format parquet", message)
    for name, place in (("input_data", "INPUT"), ("output_path", "OUTPUT")):
        message = re.sub(rf"\b{name}\b=?", place, message)
    return re.sub(r"(?<![\w./-])([a-z_]+)=('[^']*'|\"[^\"]*\"|[\w.-]*)", flag, message)


def counted(number: int, noun: str) -> str:
    """Return ``1 shard`` or ``2,000 shards``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def meant(unknown: Sequence[str], parser: argparse.ArgumentParser, others: Iterable[str]) -> str:
    """Return what may be meant by an option that a command does not have, or nothing."""
    flag, flags, owners = unknown[0].partition("=")[0].replace("_", "-"), _flags(parser), ", ".join(others)
    if owners and flag not in flags:
        return f"; {flag} is an option of {owners}"
    close = difflib.get_close_matches(flag, flags, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _flags(parser: argparse.ArgumentParser | None) -> list[str]:
    return re.findall(r"--[a-z][a-z-]*", parser.format_usage() if parser else "")
