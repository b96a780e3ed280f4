"""From figures to a report: medians, spread, ratios, goals; and the report as Markdown."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.timing import ratio, spread
from benchmarks.workloads import GOALS, Goal

__all__ = ["is_own", "summarize", "write_markdown"]


METHOD = """\
All libraries get the same images, in class folders or as the same pixels, shuffled, in batches of 64, from a
warm page cache unless a table says otherwise. Each one runs in a process of its own with one OpenMP thread. They take
turns, one round after the other, so that what else runs on the machine hits all alike; figures are
medians over the rounds, and ratios are taken within each round. "Two" means two threads, or two worker processes where
a library has those; "one" means one thread, for libraries behind a DataLoader the training process itself
(`num_workers=0`). FFCV cannot keep the original bytes: it encodes every JPEG anew at quality 90. For images of
different sizes it has no decoder that does not resize, so there it resizes too. For raw pixels ImageFolder, which
has nothing but the files, decodes and resizes. DALI and SPDL read the files as they are. Peers convert their data once,
before anything is timed, except where conversion is what is timed.
"""


def summarize(report: dict[str, Any]) -> dict[str, Any]:
    """Add medians and spread to every contender that was measured, and the goals."""
    for workload in report["workloads"].values():
        for entry in workload["contenders"].values():
            if entry["figures"]:
                entry |= {k: round(v, 2) for k, v in asdict(spread(entry["figures"])).items()}
                entry["figures"] = [round(f, 2) for f in entry["figures"]]
    goals = [_goal(goal, report["workloads"]) for goal in GOALS]
    return report | {"goals": [goal for goal in goals if goal]}


def _goal(goal: Goal, workloads: dict[str, Any]) -> dict[str, Any] | None:
    above = _figures(workloads, goal.workload, goal.above)
    rivals = {name: _figures(workloads, goal.other or goal.workload, name) for name in goal.below}
    rivals = {name: figures for name, figures in rivals.items() if figures}
    if not above or not rivals:
        return None
    best = max(rivals, key=lambda name: spread(rivals[name]).median)
    got = asdict(ratio(above, rivals[best]))
    found = {key: round(value, 3) for key, value in got.items()}
    where = {"workload": goal.workload, "above": goal.above, "below": best, "other": goal.other}
    return where | {"wanted": goal.wanted, **found, "reached": found["median"] >= goal.wanted}


def _figures(workloads: dict[str, Any], key: str, name: str) -> list[float]:
    entry = workloads.get(key, {}).get("contenders", {}).get(name, {})
    figures: list[float] = entry.get("figures", [])
    return figures if "failed" not in entry else []


def write_markdown(report: dict[str, Any], plots: Sequence[str] = ()) -> str:
    """Return the report as Markdown."""
    parts = [
        "# Benchmarks",
        _machine(report),
        METHOD,
        *(f"![{plot.removesuffix('.png')}]({plot})" for plot in plots),
        *(_table(key, workload) for key, workload in report["workloads"].items()),
        _goals(report["goals"]),
        _scale(report["scale"]),
        _versions(report),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def is_own(name: str, entry: dict[str, Any]) -> bool:
    """Whether a contender is this library, and no peer or limit."""
    return entry["peer"] in ("peers.shardwright", "access") and not name.startswith("files")


def _machine(report: dict[str, Any]) -> str:
    machine = report["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, {machine['system']}, "
        f"Python {machine['python']}; load when the run began {machine['load']:.1f}; {report['seconds']} s in all."
    )


def _table(key: str, workload: dict[str, Any]) -> str:
    single = key.startswith("latency")
    head = "µs per sample" if single else "images/s"
    lines = [
        f"## {workload['title']}",
        "",
        f"| library | {head} | smallest to largest | rounds |",
        "|---|---:|---:|---:|",
    ]
    entries = workload["contenders"].items()
    for name, entry in sorted(entries, key=lambda item: -item[1].get("median", 0)):
        shown = f"**{name}**" if is_own(name, entry) else name
        if "failed" in entry or not entry["figures"]:
            lines.append(f"| {shown} | failed: {_plain(entry.get('failed', 'no figure'))} | | |")
            continue
        median, low, high = (1e6 / entry[k] if single else entry[k] for k in ("median", "low", "high"))
        low, high = sorted((low, high))
        lines.append(f"| {shown} | {_number(median)} | {_number(low)} to {_number(high)} | {entry['rounds']} |")
    return "\n".join([*lines, "", "Bold: this library, by format."])


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _plain(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")[:160]


def _goals(goals: list[dict[str, Any]]) -> str:
    if not goals:
        return ""
    lines = [
        "## Ratios",
        "",
        "| workload | ratio | wanted | median | smallest to largest | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for g in goals:
        below = f"{g['below']} ({g['other']})" if g["other"] else g["below"]
        spread_shown = f"{g['low']:.2f} to {g['high']:.2f}"
        reached = "yes" if g["reached"] else "**no**"
        lines.append(
            f"| {g['workload']} | {g['above']} / {below} | {g['wanted']} "
            f"| {g['median']:.2f} | {spread_shown} | {reached} |"
        )
    return "\n".join(lines)


def _scale(scale: dict[str, Any]) -> str:
    if not scale:
        return ""
    lines = [f"## At {scale['samples']:,} samples, and memory", "", "| measured | result |", "|---|---|"]
    for name, answer in scale.items():
        if isinstance(answer, dict):
            shown = ", ".join(f"{k} {v if isinstance(v, str) else round(v, 2)}" for k, v in answer.items())
            lines.append(f"| {name} | {_plain(shown)} |")
    return "\n".join(lines)


def _versions(report: dict[str, Any]) -> str:
    found: dict[str, str] = dict(report["machine"]["versions"])
    for versions in report["versions"].values():
        found |= versions
    lines = ["## Versions", "", ", ".join(f"{name} {version}" for name, version in sorted(found.items()))]
    for peer, reason in report["skipped"].items():
        lines += ["", f"Skipped: {peer.removeprefix('peers.')}: {_plain(reason)}"]
    return "\n".join(lines)
