"""What a process leaves on disk when it ends at any of its steps, or when the power fails then.

`Steps` counts what a process does to files below a folder: opens, writes, renames,
removals, folders made, fsyncs. Before each it calls a function, which may end the
process (`kill_at`), or note what is on disk at that moment (`Snapshots`): that is
what a process leaves that is killed there. With a `Disk`, which follows fsync, it
is what a power loss leaves. Use these only in a forked child.
"""

import builtins
import io
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

Loss = Literal["contents", "names"]
Tree = dict[str, bytes | None]  # relative path to content; None: a folder


class Write(NamedTuple):
    """A write that is about to be made."""

    fd: int
    data: Any

    @property
    def half(self) -> bytes:
        """What a process that dies in the middle has written."""
        view = memoryview(self.data).cast("B")
        return bytes(view[: len(view) // 2])


AtStep = Callable[[int, Write | None], None]


class Steps:
    """Counts the steps of this process below `root`, and calls `at_step` before each.

    Parameters
    ----------
    root : Path
        The folder that is watched.
    at_step : callable
        Gets the number of the step, from 1, and the write if it is one.
    disk : Disk, optional
        Is told what becomes durable.
    """

    def __init__(self, root: Path, at_step: AtStep, disk: "Disk | None" = None) -> None:
        self.root, self.at_step, self.disk = f"{root}/", at_step, disk
        self.count, self.busy, self.lock = 0, False, threading.RLock()

    def watch(self) -> None:
        """Begin; there is no end but that of the process."""
        writev, write, reserve = os.writev, os.write, os.posix_fallocate

        def watched_writev(fd: int, buffers: list[Any]) -> int:
            self._step(path_of(fd), Write(fd, bytes(buffers[0]) if buffers else b""))
            return writev(fd, buffers)

        def watched_write(fd: int, data: Any) -> int:
            self._step(path_of(fd), Write(fd, data))
            return write(fd, data)

        def watched_reserve(fd: int, offset: int, length: int) -> None:
            self._step(path_of(fd))
            reserve(fd, offset, length)

        os.writev, os.write, os.posix_fallocate = watched_writev, watched_write, watched_reserve
        os.fsync = self._fsync
        io.open = builtins.open = self._open
        sys.addaudithook(self._hook)

    def _quietly(self, path: str, work: Callable[[], None]) -> None:
        """Do something that is no step itself."""
        with self.lock:
            if not self.busy and f"{path}/".startswith(self.root):
                self.busy = True
                try:
                    work()
                finally:
                    self.busy = False

    def _step(self, path: str, write: Write | None = None) -> None:
        def take() -> None:
            self.count += 1
            self.at_step(self.count, write)

        self._quietly(path, take)

    def _fsync(self, fd: int) -> None:
        path = path_of(fd)
        self._step(path)
        if self.disk:
            self._quietly(path, lambda: self.disk.synced(Path(path)))

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            path = os.fsdecode(arguments[0])
            self._step(path)
            if self.disk and arguments[2] & os.O_TRUNC:
                self._quietly(path, lambda: self.disk.emptied(Path(path)))
        elif event in ("os.mkdir", "os.rmdir", "os.remove", "os.rename"):
            at = {"os.mkdir": 2, "os.rmdir": 1, "os.remove": 1, "os.rename": 3}[event]
            folder = path_of(arguments[at]) if arguments[at] >= 0 else ""
            path = os.path.join(folder, os.fsdecode(arguments[event == "os.rename"]))
            self._step(path)
            if self.disk and event != "os.mkdir":
                self._quietly(path, lambda: self.disk.removed(Path(path)))

    def _open(self, file: Any, mode: str = "r", buffering: int = -1, *text: Any, **options: Any) -> Any:
        """Open as usual, but count the writes."""
        path = os.fsdecode(file) if isinstance(file, (str, bytes, os.PathLike)) else ""
        if not path.startswith(self.root) or not set(mode) & set("wax+"):
            return _open(file, mode, buffering, *text, **options)
        raw = _WatchedFile(path, mode.replace("b", "").replace("t", ""), self)
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        buffered = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *text, **options)


_open = io.open


def path_of(fd: int) -> str:
    """The path of an open file or folder."""
    return os.readlink(f"/proc/self/fd/{fd}")


class _WatchedFile(io.FileIO):
    """A file whose writes are steps."""

    def __init__(self, path: str, mode: str, steps: Steps) -> None:
        self.steps = steps
        super().__init__(path, mode)

    def write(self, data: Any) -> int:
        self.steps._step(str(self.name), Write(self.fileno(), data))
        return super().write(data)


def kill_at(last: int) -> AtStep:
    """End the process at a step; a write is made by half before."""
    write_now = os.write

    def at_step(number: int, write: Write | None) -> None:
        if number == last:
            if write:
                write_now(write.fd, write.half)
            os.kill(os.getpid(), signal.SIGKILL)

    return at_step


class Snapshots:
    """What is on disk, or with `loss` what a power loss leaves there, before each step; each state once."""

    def __init__(self, root: Path, disk: "Disk | None" = None, loss: Loss | None = None) -> None:
        self.root, self.disk, self.loss = root, disk, loss
        self.trees: list[Tree] = []

    def __call__(self, number: int, write: Write | None) -> None:
        tree = self.disk.lost(self.loss) if self.disk and self.loss else read_tree(self.root)
        if write and not self.loss:
            path = str(Path(path_of(write.fd)).relative_to(self.root))
            at = os.lseek(write.fd, 0, os.SEEK_CUR)
            content = tree.get(path) or b""
            tree[path] = content[:at].ljust(at, b"\0") + write.half + content[at + len(write.half) :]
        if tree not in self.trees[-1:]:
            self.trees.append(tree)


def read_tree(root: Path) -> Tree:
    """All files and folders below a folder."""
    paths = {str(path.relative_to(root)): path for path in root.rglob("*")}
    return {name: None if path.is_dir() else path.read_bytes() for name, path in paths.items()}


def write_tree(root: Path, tree: Tree) -> None:
    """Make a folder hold exactly this."""
    shutil.rmtree(root)
    root.mkdir()
    for name, content in sorted(tree.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if content is None else path.write_bytes(content)


class Disk:
    """What of a folder is durable. All that is there at the beginning is.

    Files have numbers of their own, since the system gives the inode of a removed
    file to the next one.

    Parameters
    ----------
    root : Path
    sync : bool
        Whether an fsync makes a file durable.
    """

    def __init__(self, root: Path, sync: bool = True) -> None:
        self.root, self.sync, self.next = root, True, 0
        self.numbers: dict[int, int] = {}  # inode to number
        self.contents: dict[int, bytes] = {}  # number to durable content
        self.listings: dict[Path, dict[str, int | None]] = {}  # folder to durable names; a folder has no number
        for path in (root, *root.rglob("*")):
            self.synced(path)
        self.sync = sync

    def _number(self, path: Path) -> int:
        self.next += 1
        return self.numbers.setdefault(path.stat().st_ino, self.next)

    def synced(self, path: Path) -> None:
        """Note an fsync of a file or folder."""
        if path.is_dir():
            self.listings[path] = {p.name: None if p.is_dir() else self._number(p) for p in path.iterdir()}
        elif self.sync:
            self.contents[self._number(path)] = path.read_bytes()

    def emptied(self, path: Path) -> None:
        """Note that a file is about to be emptied."""
        if path.exists():
            self.contents.pop(self._number(path), None)

    def removed(self, path: Path) -> None:
        """Note that a file or folder is about to be removed or replaced."""
        if path.is_dir():
            self.listings.pop(path, None)
        elif path.exists():
            self.numbers.pop(path.stat().st_ino, None)

    def lost(self, loss: Loss) -> Tree:
        """What a power loss leaves: zeros for contents that are not durable, or also no names that are not."""
        return self._contents_lost() if loss == "contents" else self._names_lost(self.root)

    def _contents_lost(self) -> Tree:
        tree: Tree = {}
        for path in self.root.rglob("*"):
            durable = None if path.is_dir() else self.contents.get(self._number(path), bytes(path.stat().st_size))
            tree[str(path.relative_to(self.root))] = durable
        return tree

    def _names_lost(self, folder: Path) -> Tree:
        tree: Tree = {}
        for name, number in self.listings.get(folder, {}).items():
            path = folder / name
            tree[str(path.relative_to(self.root))] = None if number is None else self.contents.get(number, b"")
            if number is None:
                tree |= self._names_lost(path)
        return tree


class Inline:
    """A thread pool without threads, so that steps come in the same order in every run."""

    def __init__(self, threads: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, function: Callable[..., None], *arguments: object) -> Future[None]:
        """Run it now; what it raises is raised by the future's result, as that of a pool."""
        future: Future[None] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future
