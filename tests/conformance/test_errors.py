"""What goes wrong says what, where, and how to mend it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import ConfigError, IncompleteDatasetError, PlanMismatchError, ShardwrightError
from shardwright.base.fields import Field
from shardwright.base.formats import format_names, get_format
from shardwright.base.reader import open_reader
from tests.conformance.tools import Store, hashes, numbered, picture, same_as_numbered


def test_the_reader_of_another_format_says_which_to_use(store: Store):
    for name in format_names():
        if name != store.name:
            with pytest.raises(ConfigError, match=get_format(store.name).reader.partition(":")[2]):
                get_format(name).load_reader()(store.numbers)


def test_a_folder_without_a_split_says_what_there_is(store: Store, tmp_path: Path):
    with pytest.raises(IncompleteDatasetError, match="holds no converted split"):
        store.open(tmp_path)
    with pytest.raises(IncompleteDatasetError, match="nowhere does not exist"):
        store.open(tmp_path / "nowhere")
    with pytest.raises(IncompleteDatasetError, match=r"'test'.*splits train"):
        store.open(store.numbers, split="test")
    with pytest.raises(IncompleteDatasetError):
        open_reader(tmp_path)
    with pytest.raises(IncompleteDatasetError, match=f"or open {store.numbers}$"):
        store.open(store.numbers / "data")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "jax"}, "'pil', 'numpy', 'tensor', 'bytes'"),
        ({"mode": "HSV"}, "'RGB'"),
        ({"columns": ["image", "labl"]}, "'image', 'label'"),
        ({"columns": "image"}, r"columns=\['image'\]"),
        *(({name: 3}, f"{name}=3 cannot be called") for name in ("transform", "target_transform", "transforms")),
        ({"max_open_files": 0}, "max_open_files"),
        ({"max_open_files": "many"}, "max_open_files"),
    ],
)
def test_wrong_options_list_the_choices(store: Store, options: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        store.open(store.numbers, **options)


def test_another_input_is_refused_and_nothing_changes(store: Store, tmp_path: Path):
    """Fault 54: the message names what differs."""
    path = store.convert(numbered(4), tmp_path / "out")
    before = hashes(path)
    with pytest.raises(PlanMismatchError, match=r"input\.num_samples is 5 now and was 4"):
        store.convert(numbered(5), tmp_path / "out")
    with pytest.raises(PlanMismatchError, match=r"options\.images_per_file is 2 now and was 5.*overwrite=True"):
        store.convert(numbered(4), tmp_path / "out", images_per_file=2)
    everything = {"images_per_file": 2, "encoding": "jpeg", "quality": 70, "on_error": "skip"}
    with pytest.raises(PlanMismatchError, match=r": options\.encoding is 'jpeg' now .*; and \d more\. Pass") as error:
        store.convert([{"other": n} for n in range(5)], tmp_path / "out", **everything)
    assert str(error.value).count(" now and was ") == 4
    assert hashes(path) == before


@pytest.mark.parametrize("label", [1.5, "cat", None, b"1", [1]])
def test_a_label_that_is_no_whole_number_is_refused(store: Store, tmp_path: Path, label: object):
    """Fault 32: in a class-label field, the same in all formats."""
    data = [(picture(0), 1), (picture(1), 0), (picture(2), label)]
    fields = [Field("label", "class_label", names=("a", "b"))]
    with pytest.raises(ShardwrightError, match=r"sample 2.*'label'.*whole number"):
        store.convert(data, tmp_path / "out", fields=fields)
    with pytest.raises(IncompleteDatasetError):
        store.open(tmp_path / "out")


@pytest.mark.parametrize("label", [2, -2, 2**63, 2**70])
def test_a_label_that_is_no_class_is_refused(store: Store, tmp_path: Path, label: int):
    """Fault 32."""
    data = [(picture(0), 1), (picture(1), label)]
    fields = [Field("label", "class_label", names=("a", "b"))]
    with pytest.raises(ShardwrightError, match=r"sample 1.*from -1 to 1"):
        store.convert(data, tmp_path / "out", fields=fields)


def test_samples_of_another_kind_are_refused(store: Store, tmp_path: Path):
    """Fault 34: the item's shape, type or fields differ from those of the first."""

    def sample(shape: tuple[int, ...] = (2,), dtype: str = "f4", **more: int) -> dict[str, object]:
        return {"values": np.zeros(shape, dtype), "label": 0, **more}

    for other in (sample(shape=(3,)), sample(dtype="f8"), sample(extra=1), {"label": 0}):
        with pytest.raises(ShardwrightError, match="sample 3"):
            store.convert([sample(), sample(), sample(), other], tmp_path / "out")


def test_a_dataset_that_raises_is_named(store: Store, tmp_path: Path):
    """Fault 33."""
    for error in (KeyError("key"), OSError("disk"), SystemExit(3), StopIteration(), ZeroDivisionError()):
        with pytest.raises(ShardwrightError, match=f"sample 2.*{type(error).__name__}") as caught:
            store.convert(Raising(error), tmp_path / "out")
        assert isinstance(caught.value.__cause__, type(error))


class Raising:
    """A dataset whose sample 2 raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> object:
        if index == 2:
            raise self.error
        return picture(index), index


def test_a_dataset_whose_length_lies_is_named(store: Store, tmp_path: Path):
    """Fault 34: longer than it is, so that there is no sample 3."""

    class Long(list[object]):
        def __len__(self) -> int:
            return super().__len__() + 1

    with pytest.raises(ShardwrightError, match=r"sample 3.*IndexError"):
        store.convert(Long(numbered(3)), tmp_path / "out")


HOOKS = {
    "one label for all": (
        lambda c: {**c, "label": c["label"][:1]},
        r"'label' an array of int64 \(1,\); .*int64 \(3,\)",
    ),
    "labels with fractions": (lambda c: {**c, "label": c["label"] + 0.7}, r"'label' an array of float64 \(3,\)"),
    "labels as rows": (lambda c: {**c, "label": c["label"][:, None]}, r"'label' an array of int64 \(3, 1\)"),
    "labels as a list": (lambda c: {**c, "label": c["label"].tolist()}, "'label' a list; it must give an array"),
    "no label": (lambda c: {"image": c["image"]}, "'label' no column, only image"),
    "an image too few": (lambda c: {**c, "image": c["image"][:-1]}, "'image' .* one"),
    "one image for all": (lambda c: {**c, "image": c["image"][:1]}, "'image' .* one"),
    "images as a list": (lambda c: {**c, "image": [b"x"] * 3}, "'image' a list"),
}


def with_hook(store: Store, out: Path, change: Any) -> Any:
    """A converter of three samples whose columns a hook changes."""
    converter = store.converter(numbered(3), out)
    given = converter._custom_collate_fn_with
    converter._custom_collate_fn_with = lambda fields: lambda batch: change(dict(given(fields)(batch)))
    return converter


@pytest.mark.parametrize(("change", "message"), HOOKS.values(), ids=HOOKS)
def test_a_hook_that_gives_other_columns_is_told(store: Store, tmp_path: Path, change: Any, message: str):
    """NumPy and HDF5 would take one label for all samples, and 0.7 for 0."""
    with pytest.raises(ConfigError, match=f"_custom_collate_fn gave field {message}"):
        with_hook(store, tmp_path, change).convert()
    assert not list((tmp_path / "data").iterdir())


def test_a_hook_may_give_smaller_numbers(store: Store, tmp_path: Path):
    with_hook(store, tmp_path, lambda c: {**c, "label": c["label"].astype(np.int8)}).convert()
    assert same_as_numbered(list(store.open(tmp_path)), range(3))
