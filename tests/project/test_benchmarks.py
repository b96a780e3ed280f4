"""The benchmarks run from end to end and report what they should; no time is tested."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import reads
from benchmarks.data import Sizes, generate_jpegs, make_settings
from benchmarks.jobs import Run
from benchmarks.measure import Session
from benchmarks.report import summarize, write_markdown
from benchmarks.server import Child, PeerError
from benchmarks.timing import ratio, spread, timed
from benchmarks.workloads import GOALS, PEERS, WORKLOADS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a quick run without peers."""
    output = tmp_path_factory.mktemp("benchmarks")
    command = [sys.executable, "-m", "benchmarks.run", "--quick", "--no-plots", "--peers", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


@pytest.fixture(scope="session")
def report(results: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((results / "report.json").read_text())
    return loaded


def test_every_workload_has_figures_of_this_library_and_nothing_failed(report: dict[str, Any]) -> None:
    assert {w.key for w in WORKLOADS} < set(report["workloads"])
    for key, workload in report["workloads"].items():
        entries = workload["contenders"]
        assert any(not name.startswith("limit") for name in entries), key
        failed = {name: entry["failed"] for name, entry in entries.items() if "failed" in entry}
        assert not {n: r for n, r in failed.items() if "page cache" not in r}, key
        for name, entry in entries.items():
            assert name in failed or entry["low"] <= entry["median"] <= entry["high"], (key, name)


def test_all_five_formats_are_measured(report: dict[str, Any]) -> None:
    measured = {name for w in report["workloads"].values() for name in w["contenders"]}
    assert {"memmap", "hdf5", "tar", "parquet", "pyarrow_ipc"} <= measured


def test_every_goal_against_a_limit_is_computed(report: dict[str, Any]) -> None:
    wanted = {(g.workload, g.above, g.below[0]) for g in GOALS if g.below[0].startswith("limit")}
    assert wanted <= {(g["workload"], g["above"], g["below"]) for g in report["goals"]}


def test_report_names_machine_versions_and_scale(report: dict[str, Any], results: Path) -> None:
    assert report["machine"]["cores"] >= 1
    assert {"shardwright", "torch", "simplejpeg"} <= set(report["machine"]["versions"])
    assert {"open_time", "growth", "conversion_memory-memmap"} <= set(report["scale"])
    assert not [name for name, answer in report["scale"].items() if "failed" in str(answer)]
    text = (results / "report.md").read_text()
    for workload in report["workloads"].values():
        assert workload["title"] in text


def test_goals_name_workloads_that_exist() -> None:
    assert {g.workload for g in GOALS} | {g.other for g in GOALS if g.other} <= {w.key for w in WORKLOADS}


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_is_a_module_that_needs_its_library_only_when_asked(peer: str) -> None:
    module = import_module(f"benchmarks.{peer}")
    assert module.PACKAGES
    assert callable(module.contenders)


def test_a_peer_that_cannot_be_imported_is_skipped_with_the_reason(tmp_path: Path) -> None:
    said: list[str] = []
    session = Session(tmp_path, tmp_path, tmp_path, tmp_path, said.append)
    try:
        session.start(["peers.nothing"])
    finally:
        session.stop()
    assert "ModuleNotFoundError" in session.skipped["peers.nothing"]
    assert "peers.nothing" in said[0]


def test_a_peer_that_dies_is_told_and_can_be_asked_again(tmp_path: Path) -> None:
    child = Child("limits", tmp_path / "log")
    try:
        child.ask("offers")
        assert child._process is not None
        child._process.kill()
        with pytest.raises(PeerError, match="ended with code"):
            child.ask("offers")
        assert child.ask("offers")
    finally:
        child.stop()


def test_spread_and_ratios_are_taken_round_by_round() -> None:
    assert spread([3.0, 1.0, 2.0]).median == 2.0
    found = ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0])
    assert (found.low, found.median, found.high) == (1.0, 2.0, 3.0)


def test_timed_repeats_calls_both_hooks_and_refuses_no_images() -> None:
    calls: list[str] = []

    def once() -> int:
        calls.append("once")
        return 5

    assert timed(Run(once, lambda: calls.append("before"), lambda: calls.append("after")), 1e-9) > 0
    assert calls == ["before", "once", "after"]
    with pytest.raises(RuntimeError, match="no image"):
        timed(Run(lambda: 0), 1e-9)


def test_a_goal_takes_the_fastest_rival_and_failed_ones_do_not_count() -> None:
    def entry(*figures: float, **more: str) -> dict[str, Any]:
        return {"peer": "peers.shardwright", "figures": list(figures), **more}

    contenders = {"memmap": entry(10, 20), "FFCV": entry(5, 5), "Lance": entry(2, 4), "LitData": entry(1, 1)}
    contenders["ArrayRecord"] = entry(99, 99, failed="it crashed")
    key = "read-raw224-1"
    base = {"skipped": {"peers.spdl_threads": "missing"}, "versions": {}, "scale": {}, "seconds": 1}
    machine = {"processor": "x", "cores": 2, "memory": "1 kB", "system": "Linux", "python": "3", "load": 0.0}
    workloads = {key: {"title": "Read", "contenders": contenders}}
    found = summarize(base | {"machine": machine | {"versions": {}}, "workloads": workloads})
    ratios = {goal["below"]: goal["median"] for goal in found["goals"]}
    assert ratios == {"FFCV": 3.0, "Lance": 5.0}
    text = write_markdown(found)
    assert "failed: it crashed" in text
    assert "Skipped: spdl_threads: missing" in text


def test_settings_hold_the_same_images_in_every_form(tmp_path: Path) -> None:
    make_settings(generate_jpegs(tmp_path / "in", 4), tmp_path / "data", Sizes(6, 8, 6, 4, 7))
    folders = (tmp_path / "data/folders").iterdir()
    counts = {folder.name: len(list(folder.glob("*/*.jpg"))) for folder in folders}
    assert counts == {"original": 6, "more": 7, "many": 8, "full": 6, "jpeg256": 6}
    images, labels = np.load(tmp_path / "data/raw224.npy"), np.load(tmp_path / "data/raw224.labels.npy")
    assert images.shape == (6, 224, 224, 3)
    assert labels.tolist() == [0, 0, 1, 2, 0, 0]
    assert np.array_equal(images[0], images[4])
    assert not np.array_equal(images[0], images[1])


def test_reads_are_measured_over_few_and_many_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reads, "SAMPLES", 70)
    reads.main(str(tmp_path), "1", "3")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["shards"] for line in lines] == [1, 3]
    assert all(set(line["microseconds"]) == {"len", "reader[i]", "__getitems__(64)"} for line in lines)
