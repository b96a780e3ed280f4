"""One suite over all sources, and sources that are wrong in one way each, which it must find."""

import copy
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import FakeData, ImageFolder

from shardwright import ArraySource, ParallelFoldersSource, ParquetConverter, Source, concat, open_reader, open_source
from shardwright.base.source import Places
from tests.conformance.test_kinds_of_files import COUNT, FILES, KINDS, LABELS, NAMES, PIXELS, folder, in_classes


def split(path: Path) -> Path:
    ParquetConverter(folder(path / "images", in_classes()), path / "split", num_workers=0, progress=False).convert()
    return path / "split"


def masks(path: Path) -> Source:
    for name in ("images", "masks"):
        (path / name).mkdir()
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(path / "images" / f"{number}.png")
        Image.fromarray(pixels[..., 0]).save(path / "masks" / f"{number}.png")
    return ParallelFoldersSource(path / "images", path / "masks")


def as_it_is(image: Any) -> Any:
    return image


OTHERS: dict[str, Callable[[Path], Any]] = {
    "a list of tuples": lambda _: [(Image.fromarray(p), n) for p, n in zip(PIXELS, LABELS, strict=True)],
    "a list of dicts": lambda _: [{"image": p, "about": {"n": n}} for n, p in enumerate(PIXELS)],
    "FakeData": lambda _: FakeData(COUNT, (3, 5, 7), 3),
    "ImageFolder": lambda p: ImageFolder(str(folder(p / "images", in_classes()))),
    "ImageFolder with a transform": lambda p: ImageFolder(str(folder(p / "images", in_classes())), as_it_is),
    "an array in memory": lambda _: ArraySource(np.stack(PIXELS), labels=[NAMES[n] for n in LABELS]),
    "images and masks": masks,
    "a converted split": split,
    "a reader": lambda p: open_reader(split(p)),
    "a selection": lambda p: open_reader(split(p)).select([5, 0, 3]),
    "readers, joined": lambda p: concat([(reader := open_reader(split(p))).select([1, 4]), reader.select([3])]),
}
INPUTS = {kind: make for kind, (make, outcome) in KINDS.items() if outcome != "neither"} | OTHERS


def equal(one: Any, other: Any) -> bool:
    """Whether two values of a sample are the same."""
    if isinstance(one, Image.Image) and isinstance(other, Image.Image):
        return one.mode == other.mode and one.tobytes() == other.tobytes()
    if isinstance(one, np.ndarray) or hasattr(one, "numpy"):
        return bool(np.array_equal(np.asarray(one), np.asarray(other)))
    return bool(one == other)


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return list(one) == list(other) and all(equal(one[name], other[name]) for name in one)


def check_length(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    assert len(source) + sum(source.ignored.values()) >= len(model), "a sample is gone, and not counted"
    assert len(source) == len(model)


def check_samples(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    assert all(same(source[number], sample) for number, sample in enumerate(model))


def check_any_order(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    for number in np.random.default_rng(0).permutation(len(model)).tolist():
        assert same(source[number], model[number])


def check_fields(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    assert source.fields.keys() <= model[0].keys()
    assert source.sample_type == ("tuple" if list(model[0]) in (["image"], ["image", "label"]) else source.sample_type)
    for name, field in source.fields.items():
        assert field.name == name
        assert field.kind != "class_label" or field.names is None or max(s[name] for s in model) < len(field.names)


def check_names(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    names = [source.name(number) for number in range(len(model))]
    assert len(set(names)) == len(model)
    assert all(name.isprintable() for name in names)


def check_identity(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    assert source.content() == source.content()
    assert source.content()["num_samples"] == len(model)
    assert source.state() == source.state()
    assert source.changed() is None
    source.check()


def check_pickling(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    source[0]
    again = pickle.loads(pickle.dumps(source))
    assert all(same(again[number], sample) for number, sample in enumerate(model))


def check_threads(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    """Only where the source says so: a user's own data set may be no friend of threads."""
    if not source.threads:
        return
    numbers = list(range(len(model))) * 8
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(source.__getitem__, numbers))
    assert all(same(sample, model[number]) for number, sample in zip(numbers, found, strict=True))


def check_places(source: Source, model: Sequence[Mapping[str, Any]]) -> None:
    rows = [(part, row) for part in source.places() for row in range(part.count)]
    assert len(rows) == len(model)
    left_out = {reason for part, _ in rows for reason in part.left_out}
    for (part, row), sample in zip(rows, model, strict=True):
        missing = sample.keys() - {f.name for f in part.fields}
        assert all(any(name in reason for reason in left_out) for name in missing), (
            f"{missing} are gone, and not counted"
        )
        for name, ranges in part.ranges.items():
            start, length = int(ranges.offsets[row]), int(ranges.lengths[row])
            assert stored(sample[name]) in {None, ranges.path.read_bytes()[start : start + length]}
        for name, values in part.scalars.items():
            assert sample[name] == values[row]


def stored(value: Any) -> bytes | None:
    """The bytes of a value that lies in a file as it is; JSON may be written in many ways."""
    if isinstance(value, (dict, list)):
        return None
    data = getattr(value, "data", value) if hasattr(value, "name") else value
    if isinstance(data, np.ndarray):
        return data.tobytes()
    return data.encode() if isinstance(data, str) else bytes(data)


CHECKS = (check_length, check_samples, check_any_order, check_fields, check_names, check_identity, check_pickling,
          check_threads)  # fmt: skip


@pytest.mark.parametrize("kind", INPUTS)
def test_every_source_keeps_the_contract(kind: str, tmp_path: Path) -> None:
    given = INPUTS[kind](tmp_path)
    source = open_source(given)
    model = [copy.deepcopy(source[number]) for number in range(len(source))]
    assert model, "no samples"
    for check in CHECKS:
        check(source, model)
    if KINDS.get(kind, (None, None))[1] == "both":
        check_places(source, model)


class Mutant(Source):
    """A source that is another one, but for what a subclass gets wrong."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.fields, self.ignored, self.sample_type = source.fields, source.ignored, source.sample_type
        self.threads = source.threads

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._source[index]

    def name(self, index: int) -> str:
        return self._source.name(index)

    def content(self) -> dict[str, Any]:
        return self._source.content()

    def places(self) -> Sequence[Places]:
        return self._source.places()


class PlacesShifted(Mutant):
    def places(self) -> list[Places]:
        (part,) = self._source.places()
        image = part.ranges["image"]
        ranges = {
            **part.ranges,
            "image": replace(image, offsets=np.roll(image.offsets, 1), lengths=np.roll(image.lengths, 1)),
        }
        return [replace(part, ranges=ranges)]


class LabelsShifted(Mutant):
    def places(self) -> list[Places]:
        (part,) = self._source.places()
        return [replace(part, scalars={"label": np.roll(part.scalars["label"], 1)})]


class LabelsLost(Mutant):
    def places(self) -> list[Places]:
        (part,) = self._source.places()
        return [replace(part, fields=part.fields[:1], scalars={})]


class SampleDropped(Mutant):
    def __len__(self) -> int:
        return len(self._source) - 1


class NotPickled(Mutant):
    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("cannot be pickled")


class OneName(Mutant):
    def name(self, index: int) -> str:
        return "sample"


class SharedRow(Mutant):
    """Threads hand out each other's samples."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        import time

        self.index = index
        time.sleep(0.002)
        return self._source[self.index]


class OnlyForward(Mutant):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.last = -1

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.last = index if index in (self.last + 1, 0) else max(self.last, 0)
        return self._source[self.last]


@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        (PlacesShifted, check_places),
        (LabelsShifted, check_places),
        (LabelsLost, check_places),
        (SampleDropped, check_length),
        (NotPickled, check_pickling),
        (OneName, check_names),
        (SharedRow, check_threads),
        (OnlyForward, check_any_order),
    ],
)
def test_a_source_that_is_wrong_fails_at_the_check_that_is_meant_for_it(
    mutant: type[Mutant], check: Callable[..., None], tmp_path: Path
) -> None:
    source = open_source(KINDS["webdataset"][0](tmp_path))
    model = [source[number] for number in range(len(source))]
    assert [sample["image"].data for sample in model] == FILES
    for each in (*CHECKS, check_places):
        each(Mutant(source), model)
    with pytest.raises((AssertionError, TypeError)):
        check(mutant(source), model)
