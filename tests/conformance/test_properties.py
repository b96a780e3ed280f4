"""Hypothesis looks for values, sizes and histories that break a round trip."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shardwright.base.errors import CorruptShardError, IncompleteDatasetError, PlanMismatchError
from shardwright.base.fields import Field
from shardwright.base.split.manifest import load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.verify import verify
from shardwright.base.writing import shards as write
from tests.conformance.children import in_child
from tests.conformance.crash import Inline, Snapshots, Steps, Tree, write_tree
from tests.conformance.own_library import read_shards
from tests.conformance.tools import SHAPE, Store, numbered, picture, same_as_numbered

FIXED = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

DTYPES = st.sampled_from([np.dtype(t) for t in ("|b1", "|u1", "<i2", "<u4", "<i8", "<f4", "<f8")])
LEAVES = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    st.none() | LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def columns(draw: st.DrawFn, fixed: bool) -> tuple[list[dict[str, Any]], list[Field]]:
    """Samples with some fields of any kinds, and how the fields are declared."""
    kinds: dict[str, Any] = {
        "int": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(),
        "class_label": st.integers(-1, 2),
    }
    dtype, shape = draw(DTYPES), draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    kinds["array"] = hnp.arrays(dtype, shape if fixed else hnp.array_shapes(max_dims=3, max_side=4, min_side=0))
    if not fixed:
        kinds |= {"text": st.text(st.characters(exclude_categories=["Cs"])), "bytes": st.binary(), "json": JSON}
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=4))
    fields = []
    for number, kind in enumerate(chosen):
        names = ("a", "b", "c") if kind == "class_label" else None
        options = {"dtype": dtype.str, "shape": shape} if kind == "array" and fixed else {}
        fields.append(Field(f"{kind}{number}", kind, names=names, **options))
    samples = draw(st.lists(st.fixed_dictionaries({f.name: kinds[f.kind] for f in fields}), min_size=1, max_size=6))
    return samples, fields


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b or (a != a and b != b)  # noqa: PLR0124 - NaN


@pytest.mark.usefixtures("no_sync")
@FIXED
@given(data=st.data())
def test_values_of_any_kind_come_back(store: Store, data: st.DataObject):
    samples, fields = data.draw(columns(store.fixed))
    per_file, batch = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    shutil.rmtree(store.root / "any", ignore_errors=True)
    path = store.convert(samples, "any", fields=fields, images_per_file=per_file, batch_size=batch)
    reader = store.open(path, check=True)
    assert len(reader) == len(samples)
    for found, sent in zip(reader, samples, strict=True):
        assert found.keys() == sent.keys()
        assert all(same(found[name], sent[name]) for name in sent), (found, sent)
    assert verify(path).ok


@pytest.mark.usefixtures("no_sync")
@FIXED
@given(data=st.data())
def test_images_of_any_size_and_mode_come_back(store: Store, data: st.DataObject):
    side = st.integers(1, 20)
    mode = data.draw(st.sampled_from(["L", "RGB", "RGBA"]))
    count = data.draw(st.integers(1, 6))
    sizes = [SHAPE if store.fixed else (data.draw(side), data.draw(side)) for _ in range(count)]
    sent = [(picture(n, mode, size), n) for n, size in enumerate(sizes)]
    options = {"im_mode": mode} if store.fixed else {"encoding": data.draw(st.sampled_from(["png", "webp"]))}
    if options.get("encoding") == "webp" and mode == "L":
        options["encoding"] = "png"
    shutil.rmtree(store.root / "any", ignore_errors=True)
    path = store.convert(sent, "any", images_per_file=data.draw(st.integers(1, 4)), **options)
    for (image, label), (original, number) in zip(store.open(path), sent, strict=True):
        assert (image.mode, image.size, label) == (mode, original.size, number)
        assert np.array_equal(np.asarray(image), np.asarray(original))
    assert [int(label) for label in read_shards(store.kind, store.shards(path))["label"]] == list(range(count))


class History(RuleBasedStateMachine):
    """A split that is converted, killed, gone on with, replaced and read, against what it must hold.

    `published` is what a reader must give (None: no split, or not a finished one);
    `begun` is what a killed conversion left to be completed.
    """

    name = "tar"
    root: Path

    @initialize()
    def start(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "watched").mkdir(parents=True)
        self.store = Store(self.name, self.root / "watched")
        self.published: int | None = None
        self.begun: tuple[int, bool] | None = None

    @property
    def out(self) -> Path:
        return self.root / "watched" / "out"

    def convert(self, count: int, overwrite: bool) -> None:
        self.store.convert(numbered(count), images_per_file=2, overwrite=overwrite)

    @rule(count=st.integers(1, 5))
    def convert_anew_or_again(self, count: int) -> None:
        """Without overwrite: only where there is nothing, or the same. A killed swap is finished first."""
        staging = SplitPaths(self.out, "train").staging
        if self.published is None and staging.manifest.exists():
            self.published, self.begun = load_manifest(staging).num_samples, None
        known = {n for n in (self.published, self.begun[0] if self.begun and not self.begun[1] else None) if n}
        if known <= {count}:
            self.convert(count, overwrite=False)
            self.published = count
            self.begun = self.begun if self.begun and self.begun[1] else None
        else:
            with pytest.raises(PlanMismatchError):
                self.convert(count, overwrite=False)

    @rule(count=st.integers(1, 5))
    def replace(self, count: int) -> None:
        self.convert(count, overwrite=True)
        self.published, self.begun = count, None

    @rule(count=st.integers(1, 5), overwrite=st.booleans(), moment=st.floats(0, 1))
    def kill(self, count: int, overwrite: bool, moment: float) -> None:
        """Kill a conversion at some moment; what is on disk then is a state before one of its steps."""
        if not overwrite and (self.published is not None or self.begun is not None):
            return
        watched = self.root / "watched"

        def work() -> list[Tree]:
            write.ThreadPoolExecutor = Inline
            snapshots = Snapshots(watched)
            Steps(watched, snapshots).watch()
            self.convert(count, overwrite)
            return snapshots.trees

        states = in_child(work)
        write_tree(watched, states[int(moment * (len(states) - 1))])
        planned = overwrite or any((self.out / "metadata").glob("*train.*json"))  # else it had not begun yet
        self.begun = (count, overwrite) if planned else None
        self.published = self.what_is_read(allowed={self.published, count if overwrite else None, count})

    @precondition(lambda self: getattr(self, "begun", None) is not None)
    @rule()
    def go_on(self) -> None:
        count, overwrite = self.begun or (0, False)
        self.convert(count, overwrite)
        self.published, self.begun = count, None

    def what_is_read(self, allowed: set[int | None]) -> int | None:
        """How many samples a reader gives, all of them right; None if there is no finished split."""
        try:
            reader = self.store.open(self.out, check=True)
        except (IncompleteDatasetError, CorruptShardError):
            return None
        assert len(reader) in allowed
        assert same_as_numbered(list(reader), range(len(reader)))
        return len(reader)

    @invariant()
    def a_reader_gives_what_was_published(self) -> None:
        if hasattr(self, "store"):
            assert self.what_is_read({self.published}) == self.published


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("name", ["tar", "memmap"])
def test_any_history_reads_right(name: str, tmp_path: Path):
    """Faults 49, 54, 56, 66: converted, killed, completed, refused and replaced in any order."""
    machine = type("Machine", (History,), {"name": name, "root": tmp_path / "machine"})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12, stateful_step_count=8, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
