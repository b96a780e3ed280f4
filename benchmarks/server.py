"""The other end of a `child`: asks one library's process, and survives its death."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["Child", "PeerError"]

ROOT = Path(__file__).resolve().parents[1]


class PeerError(RuntimeError):
    """A library could not do what it was asked; the message says why."""


class Child:
    """The process of one peer, started when it is first asked.

    Parameters
    ----------
    peer : str
        Module below ``benchmarks``, for example ``"peers.ffcv"``.
    log : Path
        Takes everything it prints.
    """

    def __init__(self, peer: str, log: Path) -> None:
        self.peer, self.log = peer, log
        self._process: subprocess.Popen[str] | None = None

    def ask(self, call: str, *args: Any, timeout: float = 60.0) -> Any:
        """Call a method of the child's server.

        Raises
        ------
        PeerError
            If it raises, dies or does not answer in `timeout` seconds.
        """
        process = self._started()
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"call": call, "args": args}) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        if not select.select([process.stdout], [], [], timeout)[0]:
            self.stop()
            raise PeerError(f"no answer to {call} within {timeout:.0f} s")
        line = process.stdout.readline()
        if not line:
            raise self._died()
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["result"]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.child", self.peer],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    cwd=ROOT,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                    start_new_session=True,  # so that its own workers end with it
                )
        return self._process

    def _died(self) -> PeerError:
        code = None if self._process is None else self._process.wait(10)
        self.stop()
        return PeerError(f"its process ended with code {code}; see {self.log.name}")

    def stop(self) -> None:
        """End the process and its workers; the next question starts a new one."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
