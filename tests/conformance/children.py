"""Run a function in a forked child of the test process, which may be killed there."""

import os
import pickle
import select
import signal
import traceback
from collections.abc import Callable
from typing import Any, Self

TIMEOUT = 120.0  # seconds; only a hang takes as long


class Child:
    """A forked child that runs a function and sends back what it returns.

    It ends at the latest with its ``with`` block: a child that hangs, or is told
    nothing more by a failed test, must not hold up the run.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self.status: int | None = None
        self._file, to_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code, answer = 1, b""
            try:
                answer = pickle.dumps(work())
                code = 0
            except BaseException:  # noqa: BLE001 - the parent shows it
                answer = traceback.format_exc().encode()
            finally:
                while answer:
                    answer = answer[os.write(to_write, answer) :]
                os._exit(code)
        os.close(to_write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self, force: bool = True) -> int:
        """Wait for its end, or make it end, and return the exit status (negative: a signal)."""
        if self.status is None:
            if force:
                os.kill(self.pid, signal.SIGKILL)
            os.close(self._file)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def wait(self) -> tuple[int, bytes]:
        """The exit status and what it sent."""
        answer = b""
        while select.select([self._file], [], [], TIMEOUT)[0]:
            more = os.read(self._file, 2**16)
            if not more:
                return self._end(force=False), answer
            answer += more
        self._end()
        raise AssertionError(f"the child hung for {TIMEOUT} s")

    def result(self) -> Any:
        """What the function returned."""
        code, answer = self.wait()
        assert code == 0, f"the child ended with {code}: {answer.decode()}"
        return pickle.loads(answer)


def in_child(work: Callable[[], Any]) -> Any:
    """What a function returns in a forked child of this process."""
    with Child(work) as child:
        return child.result()
