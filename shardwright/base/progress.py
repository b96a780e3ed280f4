"""The progress bar: images, images/s, bytes/s and the time that remains."""

import contextlib
import sys
import time
from typing import Any, Self

from tqdm import tqdm

__all__ = ["Progress", "readable_bytes"]


def readable_bytes(count: float) -> str:
    """Return a number of bytes for people: ``"1.5 MB"``, with 1 MB = 10**6 bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class _StandardError:
    """Standard error for tqdm: work goes on when nobody reads any more what is shown."""

    def __init__(self) -> None:
        self._stream = sys.stderr

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Progress:
    """A progress bar on standard error.

    Parameters
    ----------
    total : int
        Images to come.
    show : bool, optional
        By default only on a terminal.
    """

    def __init__(self, total: int, show: bool | None = None) -> None:
        hidden = sys.stderr is None or (None if show is None else not show)
        self._bar = tqdm(total=total, unit=" images", unit_scale=False, disable=hidden, file=_StandardError())
        self._bytes, self._skipped, self._start = 0, 0, time.monotonic()

    def add(self, images: int, nbytes: int = 0) -> None:
        """Count what was done since the last call."""
        self._bytes += nbytes
        seconds = time.monotonic() - self._start
        if self._bytes and seconds > 0 and not self._bar.disable:
            self._bar.set_postfix_str(f"{readable_bytes(self._bytes / seconds)}/s", refresh=False)
        self._bar.update(images)

    def skip(self) -> int:
        """Count a sample that is left out; return how many those are."""
        self._skipped += 1
        return self._skipped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
