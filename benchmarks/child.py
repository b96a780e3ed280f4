"""The process in which one library is measured; it answers one JSON line per JSON line.

Each library has a process of its own: none can disturb another's threads, and one that
crashes takes no other with it.
"""

import importlib
import json
import os
import shutil
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.jobs import Contender, Job, Run
from benchmarks.timing import timed

__all__ = ["main"]


class Server:
    """What a child knows: the contenders of its peer, and the run that was opened last per key."""

    def __init__(self, peer: str) -> None:
        self.module = importlib.import_module(f"benchmarks.{peer}")
        self.contenders: list[Contender] = self.module.contenders()
        self.runs: dict[str, tuple[Run, Path]] = {}

    def offers(self) -> list[dict[str, Any]]:
        """Describe the contenders, in the order by which `open` takes them."""
        shown = ("name", "works", "settings", "threads")
        return [{key: getattr(c, key) for key in shown} for c in self.contenders]

    def versions(self) -> dict[str, str]:
        """Return the versions of the peer's packages."""
        return {name: metadata.version(name) for name in self.module.PACKAGES}

    def open(self, key: str, contender: int, job: dict[str, Any]) -> float:
        """Convert what must be converted, open a run and do it for a while, to warm up.

        Several epochs where they are short: libraries collect the memory that they use again during the first ones.
        """
        chosen = self.contenders[contender]
        paths = {name: Path(job[name]) for name in ("data", "store", "scratch")}
        work = Job(**{**job, **paths}).with_store(chosen.store or chosen.name)
        self._prepare(chosen, work)
        work.scratch.mkdir(parents=True, exist_ok=True)
        made = chosen.make(work)
        run = made if isinstance(made, Run) else Run(made)
        self.runs[key] = run, work.scratch
        return self.measure(key, 0.001 if work.work.startswith("convert") else 1.0)

    def _prepare(self, chosen: Contender, job: Job) -> None:
        done = job.store / "prepared"
        if chosen.prepare is None or done.exists():
            return
        shutil.rmtree(job.store, ignore_errors=True)
        job.store.mkdir(parents=True)
        chosen.prepare(job)
        done.touch()

    def measure(self, key: str, seconds: float) -> float:
        """Return images per second, then clear what the run wrote."""
        run, scratch = self.runs[key]
        try:
            return timed(run, seconds)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)

    def close(self, key: str) -> None:
        """Forget a run."""
        self.runs.pop(key, None)


def main() -> None:
    """Serve the requests of `server.Child` until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log
    server: Server | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            server = server or Server(sys.argv[1])
            answer = {"result": getattr(server, request["call"])(*request["args"])}
        except BaseException as error:  # noqa: BLE001  # whatever a peer raises must reach the report
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer) + "\n")
    # Not the ordinary end: some libraries wait there for threads that never finish.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
