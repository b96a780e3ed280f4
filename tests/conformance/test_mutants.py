"""The suite is itself tested: every broken format must fail at the check that is named for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from shardwright.base import formats
from shardwright.base.errors import ShardwrightError
from shardwright.base.formats import Format, get_format, register
from shardwright.base.storage import files as storage
from tests.conformance import (
    test_determinism,
    test_durability,
    test_errors,
    test_index,
    test_laziness,
    test_processes,
    test_round_trip,
    test_transforms,
)
from tests.conformance.mutants import readers, writers
from tests.conformance.test_durability import small_split
from tests.conformance.tools import Store, hashes

Check = Callable[[Store, Path], None]


@dataclass(frozen=True)
class Mutant:
    """A format like another one, with one mixin that breaks it, and the check that must tell."""

    breaks: type
    like: str
    check: Check


def plain(test: Callable[[Store], None]) -> Check:
    return lambda store, folder: test(store)


def damaged(test: Callable[[Store, Path], None]) -> Check:
    return lambda store, folder: test(store, small_split(store, folder))


def batches(store: Store, folder: Path) -> None:
    wanted = hashes(store.photos)
    test_determinism.test_workers_and_batches_change_no_byte(store, wanted, folder, 0, 7)


def float_label(store: Store, folder: Path) -> None:
    test_errors.test_a_label_that_is_no_whole_number_is_refused(store, folder, 1.5)


def out_of_range(store: Store, folder: Path) -> None:
    test_index.test_indices_out_of_range_name_the_length(store, 23)


def bounded(store: Store, folder: Path) -> None:
    test_laziness.test_no_more_files_are_kept_open_than_allowed(store, 2)


MUTANTS = (
    Mutant(readers.LastShardOffByOne, "memmap", plain(test_index.test_the_last_sample_of_every_shard_is_its_own)),
    Mutant(readers.LastShardOffByOne, "tar", plain(test_index.test_the_last_sample_of_every_shard_is_its_own)),
    Mutant(readers.LastSampleLost, "tar", plain(test_index.test_iteration_gives_every_sample_once_and_ends)),
    Mutant(readers.OrderChanged, "tar", plain(test_index.test_getitems_keeps_the_order_that_was_asked_for)),
    Mutant(readers.WrapsAround, "tar", out_of_range),
    Mutant(readers.TargetTransformForgotten, "tar", plain(
        test_transforms.test_transform_gets_the_image_and_target_transform_the_label)),
    Mutant(readers.OpensAtOnce, "tar", plain(test_laziness.test_no_shard_is_opened_before_the_first_read)),
    Mutant(readers.HandlesUnbounded, "tar", bounded),
    Mutant(readers.NeverChecks, "memmap", damaged(test_durability.test_a_flipped_bit_in_a_shard_is_found)),
    Mutant(readers.TrustsSizes, "tar", damaged(test_durability.test_every_truncation_is_found_at_opening)),
    Mutant(readers.HandleKeptThroughPickle, "tar", plain(test_processes.test_no_handle_is_pickled)),
    Mutant(readers.HandleKeptThroughPickle, "tar", plain(
        test_processes.test_a_pickle_reads_after_its_original_is_gone)),
    Mutant(readers.SharedPosition, "memmap", plain(test_processes.test_parent_and_child_read_in_turns)),
    Mutant(readers.SharedPosition, "memmap", plain(test_processes.test_many_threads_share_a_reader)),
    Mutant(writers.LabelsShifted, "tar", plain(test_round_trip.test_every_pixel_and_label_of_a_folder_comes_back)),
    Mutant(writers.NumbersClipped, "tar", plain(test_round_trip.test_numbers_and_arrays_of_every_type_come_back)),
    Mutant(writers.NumbersClipped, "hdf5", plain(test_round_trip.test_numbers_and_arrays_of_every_type_come_back)),
    Mutant(writers.FloatLabels, "tar", float_label),
    Mutant(writers.ModeLost, "parquet", plain(
        test_round_trip.test_mixed_modes_are_read_as_rgb_and_a_shared_mode_as_it_is)),
    Mutant(writers.EncodedAgain, "pyarrow_ipc", plain(test_round_trip.test_images_keep_the_bytes_of_their_files)),
    Mutant(writers.SidesSwapped, "memmap", plain(test_round_trip.test_height_and_width_are_not_swapped)),
    Mutant(writers.DependsOnBatches, "tar", batches),
    Mutant(writers.DependsOnTime, "tar", test_determinism.test_overwriting_by_the_same_changes_no_byte),
    Mutant(writers.Reversed, "tar", plain(test_round_trip.test_a_dataset_of_pil_images_comes_back)),
)  # fmt: skip


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of formats that may be added to."""
    monkeypatch.setattr(formats, "_FORMATS", dict(formats._FORMATS))


def registered(breaks: type, like: str, root: Path) -> Store:
    """A store of a format that is like another one but for one mixin."""
    record = get_format(like)
    name = f"{breaks.__name__.lower()}-{like}"
    for part, base in (("Converter", record.load_converter()), ("Reader", record.load_reader())):
        broken = breaks.__module__ == {"Converter": writers.__name__, "Reader": readers.__name__}[part]
        bases = (breaks, base) if broken else (base,)
        made = type(f"{breaks.__name__}{like}{part}", bases, {"format_name": name, "__module__": __name__})
        globals()[made.__name__] = made  # where its name leads, also from a pickle
    place = f"{__name__}:{breaks.__name__}{like}"
    register(Format(name, record.suffix, f"{place}Converter", f"{place}Reader"))
    return Store(name, root, like=like)


class Sound:
    """Breaks nothing."""


def title(mutant: Mutant) -> str:
    return f"{mutant.breaks.__name__}-{mutant.like}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=title)
def test_a_broken_format_fails_at_its_check(
    mutant: Mutant, table: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if mutant.breaks is readers.SharedPosition:
        monkeypatch.setattr(storage, "_HAS_PREAD", False)
        monkeypatch.setattr(storage, "_seek_and_read", readers.seek_and_read)
    store = registered(mutant.breaks, mutant.like, tmp_path / "store")
    with pytest.raises((AssertionError, ShardwrightError, pytest.fail.Exception, OSError)):
        mutant.check(store, tmp_path)


@pytest.mark.parametrize("mutant", MUTANTS, ids=title)
def test_the_same_check_passes_without_the_fault(mutant: Mutant, table: None, tmp_path: Path):
    """The control: it is the fault that fails, not the registration of a sixth format."""
    mutant.check(registered(Sound, mutant.like, tmp_path / "store"), tmp_path)


def test_every_kind_of_fault_is_tried():
    """What breaks a reader or a writer stands in a mutant."""
    mixins = {
        value.__name__
        for module in (readers, writers)
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and not value.__name__.endswith("Cache")
    }
    assert {name for name in mixins if not name.startswith("_")} == {mutant.breaks.__name__ for mutant in MUTANTS}
