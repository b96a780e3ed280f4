"""Printing that goes on when nobody reads any more, and shows names as they are or escaped."""

import contextlib
import os
import sys
from typing import Any

__all__ = ["close_streams", "complain", "say"]


def say(text: str = "") -> None:
    """Print lines of results to standard output."""
    _print(text, sys.stdout)


def complain(text: str) -> None:
    """Print one line about what went wrong to standard error."""
    _print(" ".join(text.split("\n")), sys.stderr)


def _print(text: str, stream: Any) -> None:
    # A file or class name may hold what would steer the terminal.
    text = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    if stream is None:  # the process was started without it
        return
    encoding = stream.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        stream.write(f"{text}\n")  # in one piece: worker processes write to the same place
    except (BrokenPipeError, ValueError):  # closed by `| head`, or by the caller
        _silence(stream)


def close_streams() -> None:
    """Flush what was printed; a reader that went away changes no exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _silence(stream)


def _silence(stream: Any) -> None:
    """Send all further output to nowhere, also that of the interpreter's end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
