"""Reading byte ranges: handles that are bounded and never shared wrongly, and errors of the file system."""

import errno
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from shardwright.base.errors import CorruptShardError, StorageError
from shardwright.base.storage import files as storage
from shardwright.base.storage.files import FileCache, mapped, read_exactly, read_into
from shardwright.base.storage.hashes import hash_file
from shardwright.memmap.file_array import FileArray
from tests.conformance.children import in_child
from tests.conformance.tools import Store, numbered, open_files, same_as_numbered

CONTENT = np.random.default_rng(0).bytes(5000)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.bin" for n in range(6)]
    for n, path in enumerate(paths):
        path.write_bytes(CONTENT[n:])
    return paths


def read(cache: FileCache, path: Path, length: int = 10, offset: int = 0) -> bytes:
    with cache.open(path, path.stat().st_size) as fd:
        return read_exactly(fd, length, offset, path)


def test_no_more_files_than_the_limit_stay_open(files: list[Path], tmp_path: Path):
    cache = FileCache(2)
    for n in (0, 1, 2, 1, 5, 0):
        assert read(cache, files[n]) == CONTENT[n : n + 10]
        assert len(open_files(tmp_path)) == len(cache) <= 2
    cache.close()
    assert open_files(tmp_path) == []


def test_the_file_used_longest_ago_is_closed_first(files: list[Path], tmp_path: Path):
    cache = FileCache(2)
    for n in (0, 1, 0, 2):
        read(cache, files[n])
    assert open_files(tmp_path) == [str(files[0]), str(files[2])]


def test_a_file_in_use_is_not_closed(files: list[Path]):
    cache = FileCache(1)
    with cache.open(files[0], 5000) as fd:
        for path in files[1:]:
            read(cache, path)
        cache.drop(files[0])
        assert read_exactly(fd, 10, 20, files[0]) == CONTENT[20:30]
    cache.close()


def test_what_a_look_after_opening_raises_keeps_the_file_from_being_used(files: list[Path], tmp_path: Path):
    """Fault 67: and nothing stays open; the next use looks again."""
    looks: list[int] = []

    def look() -> None:
        looks.append(len(open_files(tmp_path)))
        if len(looks) == 1:
            raise CorruptShardError("replaced")

    cache = FileCache(3, look)
    with pytest.raises(CorruptShardError, match="replaced"):
        read(cache, files[0])
    assert open_files(tmp_path) == []
    assert read(cache, files[0]) == read(cache, files[0]) == CONTENT[:10]
    assert looks == [1, 1], "the file is open when it is looked at, and only once"


def test_a_cache_that_is_dropped_closes_its_files(files: list[Path], tmp_path: Path):
    """Fault 133."""
    cache = FileCache(4)
    read(cache, files[0])
    assert open_files(tmp_path)
    del cache
    assert open_files(tmp_path) == []


def test_a_pickled_cache_has_no_handle(files: list[Path]):
    """Fault 70."""
    cache = FileCache(3)
    read(cache, files[0])
    other = pickle.loads(pickle.dumps(cache))
    assert (len(other), other.limit) == (0, 3)


def test_a_child_begins_with_no_handle_and_leaves_the_parents(files: list[Path], tmp_path: Path):
    """Fault 71."""
    cache = FileCache(3)
    read(cache, files[0])

    def work() -> tuple[bytes, list[str]]:
        data = read(cache, files[1])
        return data, open_files(tmp_path)

    assert in_child(work) == (CONTENT[1:11], [str(files[1])])
    assert read(cache, files[0], 5, 5) == CONTENT[5:10]


def test_a_lock_held_at_the_fork_does_not_stop_the_child(files: list[Path]):
    """Fault 72."""
    cache = FileCache(3)
    read(cache, files[0])
    with cache._lock:
        assert in_child(lambda: read(cache, files[0])) == CONTENT[:10]


def test_threads_that_open_and_close_all_the_time(files: list[Path]):
    """Fault 73."""
    cache = FileCache(1)

    def work(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        right = []
        for _ in range(200):
            n, offset = int(rng.integers(6)), int(rng.integers(4000))
            right.append(read(cache, files[n], 30, offset) == CONTENT[n + offset : n + offset + 30])
        return all(right)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert len(cache) <= 1


def test_a_file_of_another_size_is_corrupt(files: list[Path], tmp_path: Path):
    """Fault 96."""
    cache = FileCache(3)
    with pytest.raises(CorruptShardError, match="5000 bytes, 4000 were written"), cache.open(files[0], 4000):
        pass
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("lengths", [[10], [0], [1, 2, 3], [100, 0, 4000], [5000]])
def test_buffers_are_filled_one_after_the_other(files: list[Path], lengths: list[int]):
    buffers = [bytearray(length) for length in lengths]
    with files[0].open("rb") as file:
        read_into(file.fileno(), [memoryview(b) for b in buffers], 0, files[0])
    assert b"".join(buffers) == CONTENT[: sum(lengths)]


def test_reading_beyond_the_end_is_corrupt(files: list[Path]):
    with files[0].open("rb") as file:
        for offset, length in ((4999, 2), (5000, 1), (9000, 10)):
            with pytest.raises(CorruptShardError, match="ends before"):
                read_exactly(file.fileno(), length, offset, files[0])
            with pytest.raises(CorruptShardError, match="ends before"):
                read_into(file.fileno(), [memoryview(bytearray(length))], offset, files[0])


def short(real: Callable[..., Any]) -> Callable[..., Any]:
    """As the system may do it: fewer bytes than asked for."""

    def call(fd: int, wanted: Any, *rest: int) -> Any:
        if isinstance(wanted, int):
            return real(fd, max(1, wanted // 2), *rest)
        first = memoryview(wanted[0])
        return real(fd, [first[: max(1, len(first) // 2)]], *rest)

    return call


def test_short_reads_are_continued(files: list[Path], monkeypatch: pytest.MonkeyPatch):
    """Fault 91."""
    monkeypatch.setattr(os, "pread", short(os.pread))
    monkeypatch.setattr(os, "preadv", short(os.preadv))
    buffers = [bytearray(70), bytearray(1), bytearray(200)]
    with files[0].open("rb") as file:
        read_into(file.fileno(), [memoryview(b) for b in buffers], 3, files[0])
        assert read_exactly(file.fileno(), 300, 7, files[0]) == CONTENT[7:307]
    assert b"".join(buffers) == CONTENT[3:274]


def failing(number: int, real: Callable[..., Any], times: int = 1) -> Callable[..., Any]:
    """A call that fails as often as given, then works."""
    left = [times]

    def call(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    return call


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO])
def test_a_stale_handle_is_opened_again_once(store: Store, monkeypatch: pytest.MonkeyPatch, number: int):
    """Fault 97."""
    reader = store.open(store.numbers)
    real = os.preadv
    monkeypatch.setattr(os, "preadv", failing(number, real))
    assert same_as_numbered([reader[7]], [7])
    monkeypatch.setattr(os, "preadv", failing(number, real, times=1000))
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        reader[7]
    assert "train-00001-of" in str(caught.value)


def test_a_shard_that_vanishes_is_named(store: Store, tmp_path: Path):
    """Fault 97."""
    path = store.convert(numbered(4), tmp_path / "out", images_per_file=2)
    reader = store.open(path)
    for file in store.shards(path):
        if "00001-of" in file.name:
            file.unlink()
    assert same_as_numbered([reader[1]], [1])
    with pytest.raises((StorageError, CorruptShardError), match="train-00001-of"):
        reader[3]


def test_without_pread_the_same_is_read(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Where the call does not exist: a lock, and one read at a time; also in threads."""
    monkeypatch.setattr(storage, "_HAS_PREAD", False)
    monkeypatch.delattr(os, "pread")
    monkeypatch.delattr(os, "preadv")
    reader = store.open(store.numbers, max_open_files=2)
    orders = [np.random.default_rng(n).permutation(23).tolist() for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda order: [reader[n] for n in order], orders))
    assert all(same_as_numbered(result, order) for result, order in zip(results, orders, strict=True))


def test_hash_file_is_xxh3_of_all_bytes(files: list[Path], tmp_path: Path):
    assert hash_file(files[0]) == xxhash.xxh3_64_hexdigest(CONTENT)
    (tmp_path / "empty").write_bytes(b"")
    assert hash_file(tmp_path / "empty") == xxhash.xxh3_64_hexdigest(b"")
    with pytest.raises(StorageError, match="nowhere"):
        hash_file(tmp_path / "nowhere")


def test_mapped_gives_the_bytes_and_empty_files_too(files: list[Path], tmp_path: Path):
    (tmp_path / "empty").write_bytes(b"")
    with mapped(files[0]) as data, mapped(tmp_path / "empty") as none:
        assert bytes(data) == CONTENT
        assert bytes(none) == b""


@pytest.mark.parametrize("reserve", [True, False])
def test_file_arrays_take_and_give_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserve: bool):
    """Also where `posix_fallocate` does not exist."""
    if not reserve:
        monkeypatch.delattr(os, "posix_fallocate")
    path = tmp_path / "array"
    path.write_bytes(b"head")
    values = np.arange(24, dtype="<u2").reshape(4, 2, 3)
    array = FileArray(path, "<u2", values.shape, 4)
    assert path.stat().st_size == 4 + values.nbytes
    array[2:4] = values[2:]
    array[0:2] = values[:2]
    assert np.array_equal(array[1:3], values[1:3])
    array.close()
    assert path.read_bytes() == b"head" + values.tobytes()


def test_readers_end_with_the_interpreter(tmp_path: Path):
    """Fault 135: an exit with a reader, its threads and files still there is quiet."""
    path = Store("tar", tmp_path).convert(numbered(5))
    code = (
        "import threading, sys; from shardwright.base.reader import open_reader\n"
        f"r = open_reader({str(path)!r}); r[0]\n"
        "t = threading.Thread(target=lambda: [r[n % 5] for n in range(10**9)], daemon=True); t.start(); r[3]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_thread_that_ends_late_does_not_reopen_closed_files(files: list[Path], tmp_path: Path):
    """Fault 75: closing while another thread reads closes once that read is done."""
    cache = FileCache(3)
    inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with cache.open(files[0], 5000) as fd:
            inside.set()
            go_on.wait(20)
            assert read_exactly(fd, 5, 0, files[0]) == CONTENT[:5]

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(20)
    cache.close()
    go_on.set()
    thread.join()
    assert open_files(tmp_path) == []
