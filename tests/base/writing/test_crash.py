"""A conversion that is killed at any moment: nothing half is ever read, and the next run completes it."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from shardwright.base.errors import CorruptShardError, IncompleteDatasetError, PlanMismatchError, ShardwrightError
from shardwright.base.writing import shards as write
from tests.conformance.children import Child, in_child
from tests.conformance.crash import Disk, Inline, Loss, Snapshots, Steps, Tree, kill_at, write_tree
from tests.conformance.tools import Store, hashes, make_folder, numbered, picture, same_as_numbered

pytestmark = pytest.mark.usefixtures("no_sync")


class Crashes:
    """One conversion that is run again and again, and killed at each of its steps."""

    def __init__(self, store: Store, folder: Path, **options: object) -> None:
        self.store, self.watched, self.options = store, folder / "watched", options
        self.data = make_folder(folder / "in", 3)
        self.watched.mkdir()
        self.out = self.watched / "out"
        self.convert()
        self.wanted = hashes(self.out)

    def convert(self) -> None:
        self.store.convert(self.data, self.out, images_per_file=2, batch_size=1, **self.options)

    def clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    def killed_at(self, last: int) -> bool:
        """Convert in a child that dies at a step; tell whether there is such a step."""

        def work() -> None:
            Steps(self.watched, kill_at(last)).watch()
            self.convert()

        with Child(work) as child:
            code, _ = child.wait()
        assert code in (0, -9), f"step {last}: the conversion ended with {code}"
        return code == -9

    def states(self, loss: Loss | None = None, sync: bool = True) -> list[Tree]:
        """What is on disk before each step of a conversion, or what a power loss leaves then."""

        def work() -> list[Tree]:
            write.ThreadPoolExecutor = Inline
            disk = Disk(self.watched, sync) if loss else None
            snapshots = Snapshots(self.watched, disk, loss)
            Steps(self.watched, snapshots, disk).watch()
            self.convert()
            return snapshots.trees

        return in_child(work)

    def stop_when(self, name: str) -> None:
        """Put back the first state in which a file is there under this name."""
        self.clear()
        write_tree(self.watched, next(tree for tree in self.states() if f"out/{name}" in tree))

    def check_all(self, states: list[Tree]) -> None:
        """Put back each state; it must be complete or known to be incomplete, and the next run completes it."""
        for step, tree in enumerate(states):
            write_tree(self.watched, tree)
            self.check_readable_or_incomplete(step)
            self.check_resume(step)

    def check_readable_or_incomplete(self, step: int) -> None:
        try:
            reader = self.store.open(self.out, check=True)
        except IncompleteDatasetError:
            return
        assert hashes(self.out).items() >= self.wanted.items(), f"step {step}"
        assert len(list(reader)) == 3

    def check_resume(self, step: int) -> None:
        self.convert()
        assert hashes(self.out) == self.wanted, f"step {step}"


@pytest.fixture
def crashes(store: Store, tmp_path: Path) -> Crashes:
    return Crashes(store, tmp_path)


def test_killed_at_any_step_it_is_completed_by_the_next_run(crashes: Crashes):
    """Faults 49, 53, 58, 62: before every open, write (cut in half), rename, removal and fsync."""
    crashes.clear()
    states = crashes.states()
    assert len(states) > 25, "hardly any step was counted"
    crashes.check_all(states)


def test_killed_in_truth_it_is_completed_by_the_next_run(crashes: Crashes):
    """Fault 49: SIGKILL at some steps, with the thread that commits shards beside."""
    for step in (9, 26, 43, 60, 77):
        crashes.clear()
        assert crashes.killed_at(step)
        crashes.check_readable_or_incomplete(step)
        crashes.check_resume(step)


@pytest.mark.parametrize("loss", ["contents", "names"])
def test_after_a_power_loss_it_is_completed_by_the_next_run(crashes: Crashes, loss: Loss):
    """Fault 50: what was not made durable is zeros, or gone with its name."""
    crashes.clear()
    states = crashes.states(loss)
    assert len(states) > 8
    crashes.check_all(states)


def test_without_fsync_a_power_loss_does_harm(tmp_path: Path):
    """Fault 50, the control: the model of a power loss finds a missing fsync."""
    crashes = Crashes(Store("tar", tmp_path), tmp_path)
    crashes.clear()
    states = crashes.states("contents", sync=False)[::3]
    failed = 0
    for tree in states:
        try:
            crashes.check_all([tree])
        except (AssertionError, ShardwrightError):
            failed += 1
    assert failed > len(states) / 4


def test_what_convert_returned_from_survives_a_power_loss(crashes: Crashes):
    """Fault 50: also the folders it made."""
    crashes.clear()

    def work() -> Tree:
        write.ThreadPoolExecutor = Inline
        disk = Disk(crashes.watched)
        Steps(crashes.watched, lambda number, written: None, disk).watch()
        crashes.convert()
        return disk.lost("names")

    write_tree(crashes.watched, in_child(work))
    found = hashes(crashes.out)  # removed names may come back: they are hidden and harmless
    assert {name: value for name, value in found.items() if "/." not in name} == crashes.wanted
    crashes.check_readable_or_incomplete(0)
    assert len(crashes.store.open(crashes.out)) == 3


def test_killed_again_and_again_it_gets_done(store: Store, tmp_path: Path):
    """Each run gets a few steps further than the last, so that most die while they resume."""
    crashes = Crashes(store, tmp_path)
    crashes.clear()
    for step in range(20, 400, 16):
        if not crashes.killed_at(step):
            break
        crashes.check_readable_or_incomplete(step)
    assert hashes(crashes.out) == crashes.wanted


def test_killed_while_it_overwrites_old_or_new_is_read(tmp_path: Path):
    """Fault 66: never a mixture; the same call completes it."""
    store = Store("parquet", tmp_path)
    crashes = Crashes(store, tmp_path, overwrite=True)
    crashes.clear()
    store.convert(numbered(4), crashes.out, images_per_file=3)
    seen = set()
    for step, tree in enumerate(crashes.states()):
        write_tree(crashes.watched, tree)
        seen.add(what_is_there(crashes))
        crashes.check_resume(step)
    assert seen == {"old", "nothing", "new"}


def test_a_conversion_after_a_killed_swap_finds_the_new_split(tmp_path: Path):
    """Fault 66: also one that replaces nothing; no file of the old split is left."""
    store = Store("tar", tmp_path)
    crashes = Crashes(store, tmp_path, overwrite=True)
    crashes.clear()
    store.convert(numbered(4), crashes.out, images_per_file=1)
    new, old = (crashes.out / "metadata" / name for name in (".train.new/metadata/train.json", "train.json"))
    swaps = 0
    for step, tree in enumerate(crashes.states()):
        write_tree(crashes.watched, tree)
        if new.exists() and not old.exists():
            swaps += 1
            with pytest.raises(PlanMismatchError, match=r"is there already.*overwrite=True"):
                store.convert(numbered(4), crashes.out, images_per_file=1)
            assert hashes(crashes.out) == crashes.wanted, f"step {step}"
            write_tree(crashes.watched, tree)
            store.convert(crashes.data, crashes.out, images_per_file=2, batch_size=1)
            assert hashes(crashes.out) == crashes.wanted, f"step {step}"
    assert swaps


def what_is_there(crashes: Crashes) -> str:
    """Whether the old split, the new one or none can be opened; a mixture fails."""
    try:
        reader = crashes.store.open(crashes.out, check=True)
    except (IncompleteDatasetError, CorruptShardError):
        return "nothing"
    if len(reader) == 4:
        assert same_as_numbered(list(reader), range(4))
        return "old"
    assert len(list(reader)) == 3
    return "new"


def test_another_input_after_a_kill_is_refused_and_named(store: Store, tmp_path: Path):
    """Faults 54, 55: a resume that would mix two inputs."""
    crashes = Crashes(store, tmp_path)
    crashes.stop_when("metadata/.train.part-00000")
    image = next(crashes.data.rglob("*.png"))
    content = image.read_bytes()
    os.utime(image, ns=(10**18, 10**18))
    with pytest.raises(PlanMismatchError, match=r"state is .* now and was"):
        crashes.convert()
    image.write_bytes(content + b"\0")
    with pytest.raises(PlanMismatchError, match=r"input\.digest"):
        crashes.convert()
    with pytest.raises(PlanMismatchError, match=r"options\.images_per_file is 3 now and was 2"):
        store.convert(crashes.data, crashes.out, images_per_file=3)


def test_a_resume_keeps_what_was_finished(store: Store, tmp_path: Path):
    """Fault 59: only what is missing, or not as it was written, is written again."""
    crashes = Crashes(store, tmp_path)
    crashes.stop_when("metadata/.train.part-00000")
    first = {path: path.stat().st_mtime_ns for path in store.shards(crashes.out) if "00000-of" in path.name}
    crashes.convert()
    assert first
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())


@pytest.mark.parametrize("damage", ["shard missing", "shard changed", "part missing", "part cut", "part of another"])
def test_a_shard_whose_record_does_not_hold_is_written_again(store: Store, tmp_path: Path, damage: str):
    """Fault 59."""
    crashes = Crashes(store, tmp_path)
    crashes.stop_when("metadata/.train.part-00001")
    parts = [crashes.out / "metadata" / f".train.part-0000{n}" for n in (0, 1)]
    shard = store.shards(crashes.out)[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    {
        "shard missing": shard.unlink,
        "shard changed": lambda: shard.write_bytes(content),
        "part missing": parts[0].unlink,
        "part cut": lambda: parts[0].write_bytes(parts[0].read_bytes()[:-5]),
        "part of another": lambda: shutil.copy(parts[1], parts[0]),
    }[damage]()
    crashes.check_resume(0)


def test_a_plan_that_was_cut_says_how_to_go_on(store: Store, tmp_path: Path):
    """Fault 60."""
    crashes = Crashes(store, tmp_path)
    crashes.stop_when("metadata/.train.part-00000")
    plan = crashes.out / "metadata" / ".train.plan.json"
    plan.write_bytes(b"")
    with pytest.raises(PlanMismatchError, match=r"rm .*plan\.json"):
        crashes.convert()
    plan.unlink()
    crashes.check_resume(0)


def test_left_over_temporary_files_do_no_harm(store: Store, tmp_path: Path):
    """Fault 58: a later run removes what is its own."""
    crashes = Crashes(store, tmp_path)
    crashes.clear()
    (crashes.out / "data" / ".train-00000-of-00002.tmp" / "deeper").mkdir(parents=True)
    (crashes.out / "metadata").mkdir()
    for name in (".train.json.tmp", ".train.index.npy.tmp", ".train.plan.json.tmp", ".train.lock-0"):
        (crashes.out / "metadata" / name).write_bytes(b"half")
    crashes.check_resume(0)


def test_an_exception_in_the_input_leaves_a_conversion_that_can_go_on(store: Store, tmp_path: Path):
    """Fault 33: no temporary file stays, finished shards do."""
    samples = [(picture(n, size=(8, 12)), n) for n in range(6)]
    broken = [*samples[:5], (picture(5, size=(8, 12)), "five")]
    with contextlib.suppress(ShardwrightError):
        store.convert(broken, tmp_path / "out", images_per_file=2)
    assert not list((tmp_path / "out" / "data").glob(".*"))
    with pytest.raises(IncompleteDatasetError, match="not finished"):
        store.open(tmp_path / "out")
    reader = store.open(store.convert(samples, tmp_path / "out", images_per_file=2))
    assert same_as_numbered(list(reader), range(6))
