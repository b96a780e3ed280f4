"""Medians, spread and ratios of interleaved rounds.

All contenders of a workload take turns: one round each, then the next round. What else
runs on the machine thus hits all alike, and ratios are taken within a round.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.jobs import Run

__all__ = ["Spread", "ratio", "spread", "timed"]


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some figures."""

    median: float
    low: float
    high: float
    rounds: int


def timed(run: Run, seconds: float) -> float:
    """Repeat a run until `seconds` have been measured; return images per second.

    Raises
    ------
    RuntimeError
        If a run went through no image: libraries may hide what failed in their threads.
    """
    images, spent = 0, 0.0
    while spent < seconds:
        if run.before is not None:
            run.before()
        start = time.perf_counter()
        done = run.once()
        spent += time.perf_counter() - start
        if done < 1:
            raise RuntimeError("it went through no image; the reason may be in its log")
        images += done
        if run.after is not None:
            run.after()
    return images / spent


def spread(figures: Sequence[float]) -> Spread:
    """Return the spread of at least one figure."""
    return Spread(statistics.median(figures), min(figures), max(figures), len(figures))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the spread of the ratios of two contenders, round by round."""
    return spread([a / b for a, b in zip(above, below, strict=False)])
