r"""Say how good the predictions of held-out planes are.

    python -m examples.single_pulse.evaluate PROBABILITIES.npy LABELS.npy [--snr SNR.npy] [--picture OUT.png]

Prints accuracy, precision and recall of pulses, the share of false alarms, and recall by signal-to-noise ratio.
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.common.config import need
from examples.common.plots import figure, save_figure
from shardwright import ConfigError, ShardwrightError
from shardwright.arrays.labels import load_labels

BINS = (7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 31.0)


def evaluate(probabilities: NDArray[Any], labels: NDArray[Any], snr: NDArray[Any] | None) -> dict[str, float]:
    """Return the metrics; with `snr` the recall of pulses of at least 10 too."""
    try:
        from sklearn.metrics import accuracy_score, precision_score, recall_score
    except ImportError as error:
        raise need("scikit-learn") from error
    if not len(probabilities) == len(labels) == (len(labels) if snr is None else len(snr)):
        raise ConfigError(f"{len(probabilities)} probabilities, {len(labels)} labels: give one of each per plane")
    found = probabilities > 0.5
    values = {
        "accuracy": float(accuracy_score(labels, found)),
        "precision": float(precision_score(labels, found, zero_division=0)),
        "recall": float(recall_score(labels, found, zero_division=0)),
        "false alarms": float(found[labels == 0].mean()),
    }
    if snr is not None:
        values["recall at S/N >= 10"] = float(found[(labels == 1) & (snr >= 10)].mean())
    return values


def recall_by_snr(probabilities: NDArray[Any], labels: NDArray[Any], snr: NDArray[Any]) -> list[tuple[str, int, float]]:
    """Return range, number of pulses and recall of each bin."""
    rows = []
    for low, high in pairwise(BINS):
        inside = (labels == 1) & (snr >= low) & (snr < high)
        if inside.any():
            rows.append(
                (f"{low:g} to {min(high, 30):g}", int(inside.sum()), float((probabilities[inside] > 0.5).mean()))
            )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: not, and stderr says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probabilities", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--snr", type=Path)
    parser.add_argument("--picture", type=Path, help="draw recall by signal-to-noise ratio")
    options = parser.parse_args(arguments)
    try:
        found, labels = np.load(options.probabilities), load_labels(options.labels).numbers
        snr = None if options.snr is None else np.load(options.snr)
        for name, value in evaluate(found, labels, snr).items():
            print(f"{name:20} {value:.4f}")
        if snr is not None:
            rows = recall_by_snr(found, labels, snr)
            print("S/N        pulses  recall")
            for name, count, recall in rows:
                print(f"{name:10} {count:6}  {recall:.4f}")
            if options.picture:
                made, axis = figure(6, 4)
                axis.bar([name for name, _, _ in rows], [recall for _, _, recall in rows])
                axis.set_xlabel("S/N")
                axis.set_ylabel("recall")
                save_figure(made, options.picture)
    except (ShardwrightError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
