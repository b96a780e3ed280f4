"""What goes in comes out, by name and by number: random classes, trees and tables, through every format and back."""

import csv
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from shardwright import export, open_reader
from shardwright.base.fields import Field
from shardwright.base.formats import format_names, get_format
from shardwright.base.open_source import open_source
from shardwright.base.source import Source

FIXED = settings(
    max_examples=12, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
POOL = ("10", "2", "a", "a-b", "B", "eel", "a cat", "\u00e9toile", "-1", "zebra fish", "no")
EXPORTS = ("folder", "npz", "tfrecord", "webdataset")


# --- the model -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class World:
    """Images, told apart by their one colour, with the names of their classes; ``None``: no label."""

    labels: tuple[str | None, ...]
    classes: tuple[str, ...] | None  # as given, in the order of their numbers

    @property
    def names(self) -> list[str]:
        """The classes in the order of their numbers: as given, else sorted as bytes."""
        return list(self.classes or sorted({n for n in self.labels if n is not None}, key=str.encode))

    def expected(self) -> dict[int, tuple[str | None, int]]:
        """Colour to name and number."""
        number = {name: index for index, name in enumerate(self.names)} | {None: -1}
        return {10 * i: (name, number[name]) for i, name in enumerate(self.labels)}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = draw(st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique=True))
    labels = draw(st.lists(st.sampled_from(names), min_size=1, max_size=8))
    more = draw(st.lists(st.sampled_from(POOL), max_size=2))
    given_classes = tuple(draw(st.permutations(sorted({*labels, *more})))) if draw(st.booleans()) else None
    return World(tuple(labels), given_classes)


def found(reader: Any) -> dict[int, tuple[str | None, int]]:
    """Colour to name and number, as a reader gives them."""
    result = {}
    for index, number in enumerate(np.asarray(reader.targets).tolist()):
        sample = reader[index]
        image = sample["image"] if isinstance(sample, dict) else sample[0]
        label = sample["label"] if isinstance(sample, dict) else sample[1]
        assert label == number, "the sample and `targets` differ"
        result[int(np.asarray(image).max())] = (reader.classes[number] if number >= 0 else None, number)
    return result


# --- the same world as input of many kinds ---------------------------------------------------------------------------
def png(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 5), (colour,) * 3).save(file, "png")
    return file.getvalue()


def tree(world: World) -> Iterator[tuple[str, bytes]]:
    """Class folders, and what systems leave beside them."""
    for index, name in enumerate(world.labels):
        yield f"{name}/{index:02d}.png", png(10 * index)
    yield "__MACOSX/cat/left.png", png(255)
    yield ".hidden/left.png", png(254)


def as_folder(world: World, path: Path) -> Path:
    for name, data in tree(world):
        (path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "tree" / name).write_bytes(data)
    return path / "tree"


def as_zip(world: World, path: Path) -> Path:
    with zipfile.ZipFile(path / "tree.zip", "w") as file:
        for name, data in tree(world):
            file.writestr(f"outer/{name}", data)
    return path / "tree.zip"


def as_tar(world: World, path: Path) -> Path:
    with tarfile.open(path / "tree.tar", "w") as file:
        for name, data in tree(world):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path / "tree.tar"


def as_table(world: World, path: Path) -> tuple[Path, dict[str, Any]]:
    (path / "flat").mkdir()
    with (path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file_name", "label"))
        for index, name in enumerate(world.labels):
            (path / "flat" / f"{index}.png").write_bytes(png(10 * index))
            rows.writerow((f"{index}.png", name))
    return path / "flat", {"labels": path / "labels.csv"}


def as_npz(world: World, path: Path) -> Path:
    pixels = np.stack([np.full((5, 6, 3), 10 * i, np.uint8) for i in range(len(world.labels))])
    np.savez(path / "a.npz", x_train=pixels, y_train=np.array(world.labels))
    return path / "a.npz"


class Samples:
    """A dataset whose own numbers are those of the model."""

    def __init__(self, world: World) -> None:
        self.world, self.classes = world, world.names
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.world.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return Image.new("RGB", (6, 5), (10 * index,) * 3), self.class_to_idx[self.world.labels[index]]


INPUTS: dict[str, Callable[[World, Path], Any]] = {
    "folder": as_folder,
    "zip": as_zip,
    "tar": as_tar,
    "table": as_table,
    "npz": as_npz,
    "dataset": lambda world, _: Samples(world),
}


def convert(input_data: Any, path: Path, format_name: str = "parquet", **options: Any) -> Any:
    fixed = {"shape": (5, 6)} if get_format(format_name).load_converter().fixed_size else {}
    get_format(format_name).load_converter()(input_data, path, num_workers=0, **fixed, **options).convert()
    return open_reader(path)


def check(world: World, reader: Any) -> None:
    assert reader.classes == world.names
    assert found(reader) == world.expected()


def check_input(kind: str, world: World, format_name: str = "parquet", breaks: Any = None) -> None:
    """Raise unless a world that goes in by one kind of input comes out of one format; `breaks`: a mutant."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        made = INPUTS[kind](world, path)
        input_data, options = made if isinstance(made, tuple) else (made, {})
        if world.classes is not None:
            options = options | {"classes": list(world.classes)}
        if breaks is not None:
            input_data, options = breaks(open_source(input_data, **options)), {}
        check(world, convert(input_data, path / "out", format_name, **options))


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("kind", INPUTS)
@FIXED
@given(world=worlds(), format_name=st.sampled_from(format_names()))
def test_labels_come_out_as_they_went_in(kind: str, world: World, format_name: str) -> None:
    if kind == "table":  # in a text, labels that all are numbers are numbers
        assume(not all(str(name).removeprefix("-").isdecimal() for name in world.labels))
    check_input(kind, world, format_name)


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("target", EXPORTS)
@FIXED
@given(world=worlds(), missing=st.booleans(), format_name=st.sampled_from(format_names()))
def test_labels_come_back_from_every_export(target: str, world: World, missing: bool, format_name: str) -> None:
    world = World((*world.labels, None), tuple(world.names)) if missing else world
    with TemporaryDirectory() as folder:
        path = Path(folder)
        field = Field("label", "class_label", names=tuple(world.names))
        expected = world.expected()
        data = [(Image.new("RGB", (6, 5), (c,) * 3), number) for c, (_, number) in expected.items()]
        check(world, convert(data, path / "one", format_name, fields=[field]))
        export(path / "one", path / f"exported{'.npz' if target == 'npz' else ''}", target)
        check(world, convert(path / f"exported{'.npz' if target == 'npz' else ''}", path / "two"))


# --- sources that are wrong in one way each, which the checks must find ----------------------------------------------
class Mutant(Source):
    """A source like another one."""

    def __init__(self, source: Source) -> None:
        self.source, self.fields, self.sample_type = source, source.fields, source.sample_type

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(self.source[index])


class LabelsShifted(Mutant):
    def __getitem__(self, index: int) -> dict[str, Any]:
        return super().__getitem__(index) | {"label": self.source[(index + 1) % len(self)]["label"]}


class ClassDropped(Mutant):
    def __len__(self) -> int:
        last = len(self.fields["label"].names or ()) - 1
        return sum(self.source[i]["label"] != last for i in range(len(self.source)))


class NamesOverOldNumbers(Mutant):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        names = self.fields["label"].names or ()
        self.fields = {"label": Field("label", "class_label", names=names[::-1])}


@pytest.mark.parametrize("breaks", [LabelsShifted, ClassDropped, NamesOverOldNumbers])
@pytest.mark.parametrize("kind", INPUTS)
def test_a_source_that_is_wrong_is_found(kind: str, breaks: type[Mutant]) -> None:
    world = World(("a", "B", "eel", "a", "eel"), None)
    check_input(kind, world, breaks=Mutant)
    with pytest.raises(AssertionError):
        check_input(kind, world, breaks=breaks)
