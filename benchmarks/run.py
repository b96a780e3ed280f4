"""Measure, and write JSON, Markdown and plots: ``python -m benchmarks.run --help``."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.data import Sizes, generate_jpegs, make_settings
from benchmarks.machine import describe
from benchmarks.measure import Plan, Say, Session
from benchmarks.report import summarize, write_markdown
from benchmarks.workloads import PEERS, WORKLOADS, Workload

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
ACCESS = (
    Workload("latency", "raw224", 1, "One raw sample at a time, in random order"),
    Workload("latency", "original", 1, "One encoded image at a time, not decoded, in random order"),
    Workload("cold", "raw224", 2, "Raw samples with a cold page cache, shuffled, two threads", 3),
    Workload("cold", "original", 2, "Encoded images with a cold page cache, not decoded, shuffled, two threads", 3),
)
MINE = ("peers.shardwright", "limits", "access")
QUICK = Sizes(16, 16, 32, 16, 16)
CONVERTED = ("memmap", "hdf5", "tar", "parquet", "pyarrow_ipc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks.

    Returns
    -------
    int
        0, also where a peer failed: the report says so.
    """
    options = _parser().parse_args(arguments)
    start = time.monotonic()
    if options.scratch:
        # A folder of its own inside: what is in there is removed when the images change.
        return _run(options, options.scratch.absolute() / "shardwright-benchmarks", start)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        return _run(options, Path(scratch), start)


def _run(options: argparse.Namespace, scratch: Path, start: float) -> int:
    def say(text: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {text}", flush=True)

    sizes = QUICK if options.quick else Sizes()
    source = options.input.absolute() if options.input else generate_jpegs(scratch / "generated")
    say(f"storage settings from {source}")
    if make_settings(source, scratch / "data", sizes):
        shutil.rmtree(scratch / "stores", ignore_errors=True)  # of other images
    report: dict[str, Any] = {"machine": describe(), "images": asdict(sizes)}
    report |= _workloads(options, scratch, say)
    report["scale"] = _scale(scratch, options.quick, say) if _chosen(options.workloads, "scale") else {}
    report["seconds"] = round(time.monotonic() - start)
    _write(summarize(report), options.output, options.no_plots)
    say(f"wrote {options.output}/report.json, report.md")
    return 0


def _workloads(options: argparse.Namespace, scratch: Path, say: Say) -> dict[str, Any]:
    """Measure; an interrupt ends this part only, so that what was measured is reported."""
    plan = Plan(options.rounds or (1 if options.quick else 5), 0.01 if options.quick else 0.5, options.limit)
    session = Session(scratch / "data", scratch / "stores", scratch / "work", options.output / "logs", say)
    results: dict[str, Any] = {}
    try:
        say("starting a process for each library")
        session.start([p for p in ("access", *PEERS) if p in MINE or _chosen(options.peers, p)])
        for workload in (*WORKLOADS, *ACCESS):
            if _chosen(options.workloads, workload.key):
                say(workload.key)
                results[workload.key] = session.run(workload, plan)
    except KeyboardInterrupt:
        say("interrupted: the report has what was measured until now")
    finally:
        session.stop()
    return {"workloads": results, "skipped": session.skipped, "versions": session.versions}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    keys = sorted({w.key for w in (*WORKLOADS, *ACCESS)})
    parser.add_argument("--input", type=Path, help="class folders of JPEGs; without it some are generated")
    parser.add_argument("--output", type=Path, default=Path("benchmark-results"), help="folder of the report")
    parser.add_argument("--scratch", type=Path, help="folder for converted data, kept; default: a temporary one")
    parser.add_argument("--quick", action="store_true", help="a handful of images and one round: a check, no figures")
    parser.add_argument("--rounds", type=int, help="turns of each contender; default 5")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds after which a workload stops at 3 rounds")
    parser.add_argument("--no-plots", action="store_true", help="leave the PNG files out")
    parser.add_argument("--peers", nargs="*", help=f"only these, of {', '.join(p for p in PEERS if p not in MINE)}")
    parser.add_argument("--workloads", nargs="+", help=f"only these, or beginnings of these: {', '.join(keys)}, scale")
    return parser


def _chosen(wanted: Sequence[str] | None, name: str) -> bool:
    return wanted is None or any(name.removeprefix("peers.").startswith(w.removeprefix("peers.")) for w in wanted)


def _scale(scratch: Path, quick: bool, say: Say) -> dict[str, Any]:
    """Ask `scale`, one process per question."""
    length = 1000 if quick else 1_000_000
    split, folder = str(scratch / "scale"), str(scratch / "data" / "folders" / "many")
    questions = [["make", split, str(length)], ["open_time", split]]
    if not quick:
        questions += [["worker_memory", split, method] for method in ("fork", "spawn")]
    questions += [["growth", split, "3" if quick else "50"]]
    converted = CONVERTED[:1] if quick else CONVERTED
    questions += [["conversion_memory", folder, str(scratch / "peak"), name, "2"] for name in converted]
    answers: dict[str, Any] = {"samples": length}
    for question in questions:
        name = "-".join([question[0], *(word for word in question[1:] if "/" not in word and not word.isdigit())])
        say(f"scale: {name}")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", *question], cwd=ROOT, capture_output=True, text=True, check=False
        )
        answers[name] = json.loads(done.stdout) if not done.returncode else {"failed": done.stderr[-300:]}
    return answers


def _write(report: dict[str, Any], folder: Path, no_plots: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    plots = []
    if not no_plots:
        from benchmarks.plots import write_plots

        plots = write_plots(report, folder)
    (folder / "report.md").write_text(write_markdown(report, plots))


if __name__ == "__main__":
    sys.exit(main())
