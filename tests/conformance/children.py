"""Run a function in a forked child of the test process, which may be killed there."""

import os
import pickle
import select
import signal
from collections.abc import Callable
from typing import Any

TIMEOUT = 120.0  # seconds; only a hang takes as long


class Child:
    """A forked child that runs a function and sends back what it returns.

    A child that hangs is killed, so that it fails its test and not the run.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._file, to_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                answer = pickle.dumps(work())
                while answer:
                    answer = answer[os.write(to_write, answer) :]
                code = 0
            finally:
                os._exit(code)
        os.close(to_write)

    def wait(self) -> tuple[int, bytes]:
        """The exit status (negative: the signal that ended it) and what it sent."""
        answer = b""
        try:
            while select.select([self._file], [], [], TIMEOUT)[0]:
                more = os.read(self._file, 2**16)
                if not more:
                    break
                answer += more
            else:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"the child hung for {TIMEOUT} s")
        finally:
            os.close(self._file)
            _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status), answer

    def result(self) -> Any:
        """What the function returned."""
        code, answer = self.wait()
        assert code == 0, f"the child ended with {code}"
        return pickle.loads(answer)


def in_child(work: Callable[[], Any]) -> Any:
    """What a function returns in a forked child of this process."""
    return Child(work).result()
