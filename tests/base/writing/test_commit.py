"""The commit protocol: locks, full disks, and errors of every call on the way."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import LockedError, ShardwrightError, StorageError
from shardwright.base.split.manifest import Shard
from shardwright.base.split.part import Part
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage import file_lock as lock
from shardwright.base.storage.atomic import StoredFile, storage_errors, write_bytes, write_file
from shardwright.base.writing import shards as write
from shardwright.base.writing.finish import finalize
from shardwright.base.writing.lock import split_lock
from tests.conformance.children import Child, in_child
from tests.conformance.crash import Inline, Steps, Write
from tests.conformance.tools import Store, hashes, make_folder, numbered, same_as_numbered

ROOT = Path(__file__).parents[3]


# --- one file -----------------------------------------------------------------------------


def test_a_published_file_has_its_content_and_no_other_is_left(tmp_path: Path):
    stored = write_bytes(tmp_path / "a", b"content")
    assert (stored.name, stored.size) == ("a", 7)
    assert write_bytes(tmp_path / "a", b"other").xxh3 != stored.xxh3
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"other"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    write_bytes(tmp_path / "a", b"old")

    def fail(file: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"No space left.*bytes free.*run the same conversion again"):
        write_file(tmp_path / "a", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_failed_fsync_is_never_taken_for_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fault 90: after it the content may be gone, so the file must not get its name."""
    left = [1]

    def fsync(fd: int) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="Input/output error"):
        write_bytes(tmp_path / "a", b"content")
    assert os.listdir(tmp_path) == []


def test_errors_of_others_are_not_called_storage_errors(tmp_path: Path):
    with pytest.raises(OSError, match="no number") as caught, storage_errors(tmp_path):
        raise OSError("no number")
    assert not isinstance(caught.value, ShardwrightError)


# --- parts --------------------------------------------------------------------------------

DTYPE = np.dtype([("x", "<i8")])


def make_part(folder: Path) -> Part:
    part = Part(Shard(2, (StoredFile("a.tar", 3, "0" * 16),)), {"image": 0}, {"image": {"RGB": 2}}, [])
    part.write(folder / "part", np.zeros(2, DTYPE))
    return part


def test_a_part_comes_back(tmp_path: Path):
    part = make_part(tmp_path)
    found = Part.read(tmp_path / "part", DTYPE)
    assert found is not None
    assert found[0] == part
    assert found[1].tolist() == [(0,), (0,)]


def test_a_damaged_part_is_as_if_it_were_not_there(tmp_path: Path):
    """Fault 59: at every byte, cut or flipped."""
    part = make_part(tmp_path)
    path = tmp_path / "part"
    whole = path.read_bytes()
    body = whole.index(b"\n") + 1
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert Part.read(path, DTYPE) is None
    for place in range(body, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert Part.read(path, DTYPE) is None
    path.unlink()
    assert Part.read(path, DTYPE) is None
    assert part.holds(tmp_path) is False


# --- locks --------------------------------------------------------------------------------


def test_a_second_writer_is_kept_out_before_it_touches_anything(store: Store, tmp_path: Path):
    """Faults 63, 64: the message says who holds it."""
    path = store.convert(numbered(3), tmp_path / "out")
    before = hashes(path)
    with split_lock(SplitPaths(path, "train"), 0, 1):
        for options in ({}, {"overwrite": True}, {"images_per_file": 1, "overwrite": True}):
            with pytest.raises(LockedError, match=f"process {os.getpid()} on"):
                store.convert(numbered(4), path, **options)
        assert {k: v for k, v in hashes(path).items() if "lock" not in k} == before
    store.convert(numbered(4), path, overwrite=True)
    assert len(store.open(path)) == 4


def test_another_process_holds_the_lock(tmp_path: Path):
    """Fault 63: and it ends with that process, however it ends."""
    store = Store("tar", tmp_path)
    paths = SplitPaths(tmp_path / "out", "train")
    to_read, to_write = os.pipe()

    def hold() -> None:
        with split_lock(paths, 0, 1):
            os.write(to_write, b"x")
            threading.Event().wait(60)

    with Child(hold) as child:
        os.read(to_read, 1)
        with pytest.raises(LockedError, match=f"process {child.pid} on .* is writing"):
            store.convert(numbered(3))
    os.close(to_read)
    os.close(to_write)
    assert len(store.open(store.convert(numbered(3)))) == 3


def test_two_ranks_with_the_same_number(tmp_path: Path):
    """Fault 84."""
    store = Store("tar", tmp_path)
    with split_lock(SplitPaths(tmp_path / "out", "train"), 1, 2), pytest.raises(LockedError):
        store.convert(numbered(3), rank=1, num_replicas=2)


def test_a_job_of_another_size_is_kept_out(tmp_path: Path):
    """Fault 87."""
    store = Store("tar", tmp_path)
    with split_lock(SplitPaths(tmp_path / "out", "train"), 2, 3), pytest.raises(LockedError):
        store.convert(numbered(3), rank=0, num_replicas=2)
    with split_lock(SplitPaths(tmp_path / "out", "train"), 1, 2):
        assert store.converter(numbered(3), rank=0, num_replicas=2, wait=False).convert() is not None


def test_other_splits_are_not_locked(tmp_path: Path):
    store = Store("tar", tmp_path)
    with split_lock(SplitPaths(tmp_path / "out", "train"), 0, 1):
        store.convert(numbered(3), split="test")


def no_flock(file: Any, how: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("hide", ["ENOLCK", "no fcntl"])
def test_without_flock_a_file_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hide: str):
    """Fault 94: a dead owner's must be deleted by hand, and the message says so."""
    if hide == "ENOLCK":
        monkeypatch.setattr(lock.fcntl, "flock", no_flock)
    else:
        monkeypatch.setattr(lock, "fcntl", None)
    store = Store("tar", tmp_path)
    paths = SplitPaths(tmp_path / "out", "train")
    with split_lock(paths, 0, 1), pytest.raises(LockedError, match=r"delete .*\.exclusive"):
        store.convert(numbered(3))
    path = store.convert(numbered(3))
    assert len(store.open(path)) == 3
    assert not [name for name in hashes(path) if name.endswith(".exclusive")]


# --- the disk -----------------------------------------------------------------------------


class Failing:
    """Raises an error of the file system at one step of a conversion."""

    def __init__(self, number: int) -> None:
        self.number, self.at, self.steps = number, 0, None

    def __call__(self, step: int, written: Write | None) -> None:
        if step == self.at:
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_an_error_of_any_call_is_a_storage_error_and_the_next_run_goes_on(store: Store, tmp_path: Path, number: int):
    """Faults 88, 90, 98: at each open, write, fsync and rename; no temporary file stays."""
    folder = make_folder(tmp_path / "in", 3)
    watched = tmp_path / "watched"
    watched.mkdir()
    out = watched / "out"

    def convert() -> None:
        store.convert(folder, out, images_per_file=2, batch_size=1)

    convert()
    wanted = hashes(out)

    def work() -> tuple[int, list[str]]:
        write.ThreadPoolExecutor = Inline
        failing, wrong, step = Failing(number), [], 0
        steps = Steps(watched, failing)
        steps.watch()
        while True:
            shutil.rmtree(out)
            step += 1
            steps.count, failing.at = 0, step
            try:
                convert()
            except ShardwrightError:
                pass
            except OSError as error:
                wrong.append(f"step {step}: {error!r}")
            if steps.count < step:
                return step, wrong
            failing.at = 0
            wrong += [f"step {step}: {path.name} is left" for path in out.glob("data/.*")]
            convert()
            if hashes(out) != wanted:
                wrong.append(f"step {step}: the bytes differ")

    count, wrong = in_child(work)
    assert wrong == []
    assert count > 30


@pytest.mark.parametrize("limit", [100, 1000, 3000])
def test_files_that_may_not_grow_are_a_storage_error(store: Store, tmp_path: Path, limit: int):
    """Fault 89: EFBIG, as a quota would do it; the signal is ignored by Python."""

    def work() -> str:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            store.convert(numbered(12, size=(40, 40)), tmp_path / "out", images_per_file=6, **large(store))
        except StorageError as error:
            return str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return "converted"

    message = in_child(work)
    assert "run the same conversion again" in message
    assert not list((tmp_path / "out").glob("data/.*"))
    reader = store.open(store.convert(numbered(12, size=(40, 40)), tmp_path / "out", images_per_file=6, **large(store)))
    assert [label for _, label in reader] == list(range(12))


def large(store: Store) -> dict[str, Any]:
    return {"shape": (40, 40)} if store.fixed else {}


def test_short_writes_are_completed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fault 91: the system takes fewer bytes than it was given."""
    real = os.writev

    def some(fd: int, buffers: list[Any]) -> int:
        first = memoryview(buffers[0]).cast("B")
        return real(fd, [first[: max(1, len(first) // 3)]]) if len(first) else real(fd, buffers)

    wanted = hashes(store.convert(numbered(5), tmp_path / "whole"))
    monkeypatch.setattr(os, "writev", some)
    assert hashes(store.convert(numbered(5), tmp_path / "short")) == wanted


def test_no_temporary_folder_of_the_system_is_needed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Faults 94, 134: everything is written beside its final place, so that a rename is one."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.delenv("HOME", raising=False)
    real = os.replace
    moves = []
    monkeypatch.setattr(os, "replace", lambda a, b: (moves.append((Path(a), Path(b))), real(a, b)))
    path = store.convert(numbered(5), tmp_path / "out", images_per_file=2)
    assert same_as_numbered(list(store.open(path)), range(5))
    assert moves
    assert all(path in a.parents and path in b.parents for a, b in moves)


def test_the_umask_counts(store: Store, tmp_path: Path):
    """Fault 93: files are as readable as the user's others."""

    def work() -> set[int]:
        os.umask(0o027)
        path = store.convert(numbered(3), tmp_path / "out")
        return {file.stat().st_mode & 0o777 for file in path.rglob("*") if file.is_file()}

    assert in_child(work) == {0o640}


NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user without rights")
def test_without_permission_the_path_is_named(store: Store, tmp_path: Path):
    """Faults 92, 93: reading needs no right to write; converting says what it may not."""
    path = store.convert(numbered(3), tmp_path / "out")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o755)

    def as_nobody(work: Callable[[], Any]) -> Any:
        def child() -> Any:
            os.setgroups([])
            os.setuid(NOBODY)
            return work()

        return in_child(child)

    assert as_nobody(lambda: same_as_numbered(list(store.open(path)), range(3)))

    def convert() -> str:
        try:
            store.convert(numbered(4), path, overwrite=True)
        except StorageError as error:
            return str(error)
        return "converted"

    message = as_nobody(convert)
    assert "Permission denied; this process may not write there: choose another output" in message
    assert "room" not in message, "the disk is not full"
    assert same_as_numbered(list(store.open(path)), range(3))


# --- signals, workers, finalize -----------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_worker_that_is_killed_ends_the_conversion(tmp_path: Path):
    """Fault 51: with an error that says how to go on; the next run completes it."""
    store = Store("tar", tmp_path)
    with pytest.raises(ShardwrightError, match=r"worker.*run the same conversion again"):
        store.convert(Suicide(), images_per_file=2, num_workers=1)
    Suicide.dies = False
    try:
        assert same_as_numbered(list(store.open(store.convert(Suicide(), images_per_file=2))), range(6))
    finally:
        Suicide.dies = True


class Suicide:
    """A dataset whose worker process is killed at sample 4."""

    dies = True

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        if index == 4 and self.dies:
            os.kill(os.getpid(), 9)
        return numbered(6)[index]


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_signals_end_it_and_the_next_run_goes_on(tmp_path: Path, signal: str):
    """Fault 52: the exit status is not zero."""
    code = """
        import os, signal, sys
        sys.path.insert(0, ".")
        from tests.conformance.tools import Store, numbered
        class Signals(list):
            def __getitem__(self, n):
                if n == 3:
                    os.kill(os.getpid(), signal.{signal})
                return super().__getitem__(n)
        Store("tar", __import__("pathlib").Path({root!r})).convert(Signals(numbered(5)), images_per_file=2)
    """
    program = textwrap.dedent(code).format(signal=signal, root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode != 0
    store = Store("tar", tmp_path)
    with pytest.raises(ShardwrightError, match="not finished"):
        store.open(tmp_path / "out")
    (tmp_path / "out" / "metadata" / ".train.plan.json").unlink()  # it names the class of the input
    assert same_as_numbered(list(store.open(store.convert(numbered(5), images_per_file=2))), range(5))


def test_finalize_publishes_what_is_complete_and_names_what_is_not(store: Store, tmp_path: Path):
    """Faults 62, 80."""
    wanted = hashes(store.convert(numbered(7), tmp_path / "whole", images_per_file=3))
    out = tmp_path / "out"
    for rank in (0, 1):
        converter = store.converter(numbered(7), out, images_per_file=3, rank=rank, num_replicas=3, wait=False)
        assert converter.convert() is None
    with pytest.raises(ShardwrightError, match="lacks 1 shards: 2"):
        finalize(out)
    last = store.converter(numbered(7), out, images_per_file=3, rank=2, num_replicas=3, wait=False)
    last.convert()
    assert finalize(out).num_samples == 7
    assert hashes(out) == wanted


def test_finalize_without_any_conversion_says_so(tmp_path: Path):
    with pytest.raises(ShardwrightError, match="no converted split"):
        finalize(tmp_path)
