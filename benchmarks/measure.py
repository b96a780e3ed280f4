"""Runs the workloads: opens every contender, lets them take turns, and keeps what failed as a reason."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.server import Child, PeerError
from benchmarks.workloads import Workload

__all__ = ["Plan", "Say", "Session"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Parameters
    ----------
    rounds : int
        Turns of every contender.
    seconds : float
        At least so long per turn.
    limit : float
        After so many seconds a workload ends, though not before its third round.
    """

    rounds: int = 5
    seconds: float = 0.5
    limit: float = 40.0


@dataclass
class Session:
    """The processes of all peers, and why some are left out.

    Parameters
    ----------
    data, stores, scratch, logs : Path
    """

    data: Path
    stores: Path
    scratch: Path
    logs: Path
    say: Say
    children: dict[str, Child] = field(default_factory=dict)
    offers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def start(self, peers: Sequence[str]) -> None:
        """Start all peers and ask what they offer; one that cannot be imported is skipped."""

        def ask(peer: str) -> None:
            child = Child(peer, self.logs / f"{peer}.log")
            try:
                self.offers[peer] = child.ask("offers", timeout=120)
                self.versions[peer] = child.ask("versions")
                self.children[peer] = child
            except PeerError as error:
                self.offers.pop(peer, None)
                self.skipped[peer] = str(error)
                self.say(f"  {peer} is skipped: {error}")
                child.stop()

        _together(ask, peers)

    def run(self, workload: Workload, plan: Plan) -> dict[str, Any]:
        """Measure one workload; return its part of the report."""
        peers = [p for p in self.offers if p in self.children]
        entries: dict[str, dict[str, Any]] = {}
        opened: dict[str, list[str]] = {}

        def open_all(peer: str) -> None:
            for number, offer in enumerate(self.offers[peer]):
                if not _fits(offer, workload):
                    continue
                entry: dict[str, Any] = {"peer": peer, "figures": []}
                entries[offer["name"]] = entry
                try:
                    self.children[peer].ask("open", offer["name"], number, self._job(workload, peer), timeout=240)
                    opened.setdefault(peer, []).append(offer["name"])
                except PeerError as error:
                    entry["failed"] = str(error)

        _together(open_all, peers)
        names = [(peer, name) for peer in peers for name in opened.get(peer, ())]
        self._rounds(workload, plan, names, entries)
        for peer, name in names:
            if "failed" not in entries[name]:
                self.children[peer].ask("close", name)
        order = [offer["name"] for peer in peers for offer in self.offers[peer] if offer["name"] in entries]
        return {"title": workload.title, "contenders": {name: entries[name] for name in dict.fromkeys(order)}}

    def _rounds(
        self, workload: Workload, plan: Plan, names: list[tuple[str, str]], entries: dict[str, dict[str, Any]]
    ) -> None:
        start, rounds = time.monotonic(), min(plan.rounds, workload.rounds)
        for done in range(rounds):
            if done >= 3 and time.monotonic() - start > plan.limit:
                return
            first = done * len(names) // rounds  # another one each time: some machines are slow after much work
            for peer, name in names[first:] + names[:first]:
                entry = entries[name]
                if "failed" in entry:
                    continue
                try:
                    entry["figures"].append(self.children[peer].ask("measure", name, plan.seconds, timeout=120))
                except PeerError as error:
                    self._mark(entries, peer, name, str(error))

    def _mark(self, entries: dict[str, dict[str, Any]], peer: str, name: str, reason: str) -> None:
        """Keep the reason; if the process is gone, for all of its contenders."""
        entries[name]["failed"] = reason
        if not self.children[peer].alive:
            for entry in entries.values():
                if entry["peer"] == peer:
                    entry.setdefault("failed", reason)

    def _job(self, workload: Workload, peer: str) -> dict[str, Any]:
        folders = {
            "data": str(self.data),
            "store": str(self.stores),
            "scratch": str(self.scratch / peer / workload.key),
        }
        return {"work": workload.work, "setting": workload.setting, "threads": workload.threads} | folders

    def stop(self) -> None:
        """End all processes."""
        for child in self.children.values():
            child.stop()


def _fits(offer: dict[str, Any], workload: Workload) -> bool:
    return (
        workload.work in offer["works"]
        and workload.setting in offer["settings"]
        and workload.threads in offer["threads"]
    )


def _together(function: Callable[[str], None], names: Sequence[str]) -> None:
    """Call a function for all names, two at a time: what is not measured may be done side by side."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(function, names))
