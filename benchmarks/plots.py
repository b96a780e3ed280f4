"""Bar charts of the report."""

from pathlib import Path
from typing import Any

from benchmarks.report import is_own

__all__ = ["write_plots"]

COLOURS = {"own": "#2a6f97", "limit": "#bbbbbb", "peer": "#e09f3e"}


def write_plots(report: dict[str, Any], folder: Path) -> list[str]:
    """Write one PNG per workload with figures; return the file names."""
    import matplotlib as mpl

    mpl.use("Agg")
    return [name for key, workload in report["workloads"].items() if (name := _plot(key, workload, folder))]


def _plot(key: str, workload: dict[str, Any], folder: Path) -> str:
    from matplotlib import pyplot as plt

    measured = [(n, e) for n, e in workload["contenders"].items() if "failed" not in e and e["figures"]]
    if not measured or key.startswith("latency"):
        return ""
    measured.sort(key=lambda item: item[1]["median"])
    medians = [entry["median"] for _, entry in measured]
    spreads = [[e["median"] - e["low"] for _, e in measured], [e["high"] - e["median"] for _, e in measured]]
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.32 * len(measured)), layout="constrained")
    colours = [COLOURS[_kind(name, entry)] for name, entry in measured]
    names = [name for name, _ in measured]
    bars = axes.barh(names, medians, xerr=spreads, color=colours, error_kw={"lw": 0.8})
    axes.bar_label(bars, [f"{m:,.0f}" for m in medians], padding=6, fontsize=8)
    axes.set(title=workload["title"], xlabel="images/s, median; lines from smallest to largest round")
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / f"{key}.png", dpi=110)
    plt.close(figure)
    return f"{key}.png"


def _kind(name: str, entry: dict[str, Any]) -> str:
    if name.startswith("limit"):
        return "limit"
    return "own" if is_own(name, entry) else "peer"
