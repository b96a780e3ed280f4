"""What we export comes back when it is converted: numbers, class names, further fields."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import ConfigError, InputError, UnsafeDataError
from shardwright.base.export import export
from shardwright.base.fields import Field
from shardwright.base.index_files import index_files
from shardwright.base.reader import Reader, open_reader
from shardwright.parquet.converter import ParquetConverter

COUNT = 8
# Names of different lengths, in no order, one of them without a sample; also not ASCII, and a number.
NAMES = ("zebra fish", "ant", "10", "étoile", "ox")
LABEL = Field("label", "class_label", names=NAMES)
NUMBERS = [0, 1, 2, 3, -1, 0, 3, 2]


def pixels(number: int) -> np.ndarray:
    return np.full((8, 9, 3), 20 * number, np.uint8)


def convert(data: Any, path: Path, **options: Any) -> Reader:
    ParquetConverter(data, path, num_workers=0, progress=False, **options).convert()
    return open_reader(path, output="numpy")


def by_colour(reader: Reader, *names: str) -> dict[int, tuple[Any, ...]]:
    """The values of these fields, by the colour of the image: the order may be another one."""
    values = reader.read_values(range(len(reader)), ["image", *names])
    return {int(v[0].max()): v[1:] for v in zip(*(values[n] for n in ["image", *names]), strict=True)}


def exported(data: Any, path: Path, to: str, **options: Any) -> tuple[Reader, Path]:
    """A split of the data, and where it was exported to."""
    reader = convert(data, path / "one", **options)
    return reader, export(path / "one", path / ("out.npz" if to == "npz" else "out"), to)


# npz


def test_class_names_of_any_length_come_back_from_npz(tmp_path: Path) -> None:
    data = [(pixels(n), NUMBERS[n]) for n in range(COUNT)]
    one, out = exported(data, tmp_path, "npz", fields=[LABEL])
    with np.load(out) as arrays:
        assert sorted(arrays) == ["classes", "x_train", "y_train"]
        assert arrays["classes"].tolist() == list(NAMES)
    two = convert(out, tmp_path / "two")
    assert (two.classes, by_colour(two, "label")) == (list(NAMES), by_colour(one, "label"))
    assert dict(two.manifest.ignored) == {}
    index_files(out, tmp_path / "index")
    indexed = open_reader(tmp_path / "index", data_path=tmp_path)
    assert (indexed.classes, indexed.targets.tolist()) == (list(NAMES), NUMBERS)


def test_further_fields_come_back_from_npz_under_their_names(tmp_path: Path) -> None:
    kinds = Field("kind", "class_label", names=("bb", "a", "ccc"))
    data = [
        {
            "image": pixels(n),
            "label": NUMBERS[n],
            "kind": n % 3,
            "dose": n / 2,
            "mask": np.full((8, 9), n, np.uint8),
            "spectrum": np.arange(4, dtype=np.float32) + n,
        }
        for n in range(COUNT)
    ]
    one, out = exported(data, tmp_path, "npz", fields=[LABEL, kinds])
    two = convert(out, tmp_path / "two")
    assert {f.name: (f.kind, f.names) for f in two.fields} == {f.name: (f.kind, f.names) for f in one.fields}
    for name in ("label", "kind", "dose"):
        assert two.scalars(name).tolist() == one.scalars(name).tolist()
    for name in ("mask", "spectrum"):
        assert np.array_equal(*(np.stack(r.read_values(range(COUNT), [name])[name]) for r in (one, two)))


def test_scores_are_y(tmp_path: Path) -> None:
    one, out = exported([(pixels(n), n / 4) for n in range(COUNT)], tmp_path, "npz")
    two = convert(out, tmp_path / "two")
    assert two.targets.tolist() == one.targets.tolist() == [n / 4 for n in range(COUNT)]


def test_a_field_called_as_the_list_of_names_is_refused(tmp_path: Path) -> None:
    data = [{"image": pixels(n), "label": 0, "classes": n} for n in range(2)]
    with pytest.raises(ConfigError, match=r"the array 'classes'.*columns="):
        exported(data, tmp_path, "npz", fields=[LABEL])


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (np.array(["a", "b"]), "classes: does not name all numbers of y"),
        (np.array(["a", "b", "a"]), "classes] has 3 values for 8 samples"),
    ],
    ids=["too few", "one twice"],
)
def test_a_list_of_names_that_does_not_fit_is_told(tmp_path: Path, classes: Any, told: str) -> None:
    np.savez(tmp_path / "a.npz", x=np.stack(list(map(pixels, range(COUNT)))), y=np.arange(COUNT) % 3, classes=classes)
    reader = convert(tmp_path / "a.npz", tmp_path / "out")
    assert reader.targets.tolist() == [n % 3 for n in range(COUNT)]
    assert reader.classes == []
    assert any(told in reason for reason in reader.manifest.ignored), reader.manifest.ignored


def test_texts_of_every_sample_are_no_list_of_names(tmp_path: Path) -> None:
    texts = np.array(["cat", "dog"] * (COUNT // 2))
    np.savez(tmp_path / "a.npz", x=np.stack(list(map(pixels, range(COUNT)))), y=np.arange(COUNT) % 2, classes=texts)
    reader = convert(tmp_path / "a.npz", tmp_path / "out")
    assert [s["classes"] for s in reader] == texts.tolist()


# folder


def rich(number: int) -> dict[str, Any]:
    """A sample with a field of every kind."""
    return {
        "image": pixels(number),
        "mask": np.full((8, 9), number, np.uint8),
        "label": NUMBERS[number],
        "kind": number % 2,
        "dose": number / 3,
        "count": 10**12 + number,
        "caption": f"über {number}\n",
        "about": {"slide": [number, None]},
        "raw": bytes([number, 255]),
        "spectrum": np.arange(number + 1, dtype=np.int16),
        "wide": np.full((2, 3), np.pi * number),
    }


KIND = Field("kind", "class_label", names=("bb", "a"))
SPECTRUM = Field("spectrum", "array")


def same(one: Any, two: Any) -> bool:
    return bool(np.array_equal(np.asarray(one), np.asarray(two))) if isinstance(one, np.ndarray) else one == two


def check_all_comes_back(one: Reader, two: Reader) -> None:
    assert two.sample_type == one.sample_type
    assert [(f.name, f.kind, f.names, f.palette) for f in two.fields] == [
        (f.name, f.kind, f.names, f.palette) for f in one.fields
    ]
    names = [f.name for f in one.fields]
    ours, theirs = by_colour(one, *names), by_colour(two, *names)
    assert ours.keys() == theirs.keys()
    for colour, values in ours.items():
        for name, value, found in zip(names, values, theirs[colour], strict=True):
            assert same(value, found), name


@pytest.mark.parametrize("to", ["folder", "tfrecord", "webdataset"])
def test_every_field_comes_back(tmp_path: Path, to: str) -> None:
    one, out = exported([rich(n) for n in range(COUNT)], tmp_path, to, fields=[LABEL, KIND, SPECTRUM])
    check_all_comes_back(one, convert(out, tmp_path / "two"))


@pytest.mark.parametrize("to", ["folder", "npz", "tfrecord", "webdataset"])
@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("ant", "cat", "zebra"), [0, 1, 2, 0, 1, 2, 0, 1]),
        (("zebra", "ant", "cat"), [0, 1, 2, -1, 0, 1, 2, -1]),
        (("a", "b", "no sample", "c"), [0, 1, 3, 0, 1, 3, 0, 1]),
        (("no sample", "b"), [1] * COUNT),
        (("a",), [-1] * COUNT),
        (("a/b", "..", ".c", "", "a%2Fb"), [0, 1, 2, 3, 4, 0, 1, 2]),
        (("test", "train"), [0, 1] * 4),
        (("@eaDir", "__MACOSX", "cat"), [0, 1, 2, 0, 1, 2, 0, 1]),
        (("unlabelled", "10", "9"), [0, 1, 2, -1, 0, 1, 2, -1]),
        (None, [0, 1, 2, 0, 1, 2, 0, 1]),
        (None, [5, 6, 7, -3, 5, 6, 7, 9]),
    ],
    ids=str,
)
def test_numbers_and_names_come_back(tmp_path: Path, to: str, names: Any, numbers: list[int]) -> None:
    fields = [Field("label", "class_label", names=names)] if names else []
    one, out = exported([(pixels(n), numbers[n]) for n in range(COUNT)], tmp_path, to, fields=fields)
    two = convert(out, tmp_path / "two")
    assert two.classes == one.classes
    assert by_colour(two, "label") == by_colour(one, "label")
    assert two.sample_type == "tuple"
    assert [type(f.names) for f in two.fields] == [type(f.names) for f in one.fields]


def test_labels_that_are_text_or_scores_come_back_from_a_folder(tmp_path: Path) -> None:
    for number, labels in enumerate((["cat", "a dog"] * 4, [n / 4 for n in range(COUNT)])):
        one, out = exported([(pixels(n), labels[n]) for n in range(COUNT)], tmp_path / str(number), "folder")
        two = convert(out, tmp_path / f"two{number}")
        assert by_colour(two, "label") == by_colour(one, "label")


def test_a_folder_that_says_everything_holds_nothing_else(tmp_path: Path) -> None:
    fields = [Field("label", "class_label", names=("a", "b"))]
    _, out = exported([(pixels(n), n % 2) for n in range(COUNT)], tmp_path, "folder", fields=fields)
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]
    _, flat = exported([{"image": pixels(n)} for n in range(COUNT)], tmp_path / "flat", "folder")
    assert sorted(path.suffix for path in flat.iterdir()) == [".png"] * COUNT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return exported([rich(n) for n in range(COUNT)], tmp_path, "folder", fields=[LABEL, KIND, SPECTRUM])[1]


def test_an_image_that_nobody_named_is_told_and_the_mend_works(tmp_path: Path) -> None:
    fields = [Field("label", "class_label", names=("b", "a"))]
    _, out = exported([(pixels(n), n % 2) for n in range(COUNT)], tmp_path, "folder", fields=fields)
    (out / "a" / "new.png").write_bytes(next((out / "a").glob("*.png")).read_bytes())
    with pytest.raises(
        InputError, match=r"a/new\.png is not in metadata\.jsonl.*delete (\S+shardwright\.json)"
    ) as caught:
        convert(out, tmp_path / "two")
    Path(str(caught.value).split("delete ")[1].split()[0]).unlink()
    two = convert(out, tmp_path / "two")
    assert (two.classes, len(two)) == (["a", "b"], COUNT + 1)


def test_a_file_that_is_gone_is_named(folder: Path, tmp_path: Path) -> None:
    gone = next(folder.rglob("*.wide.npy"))
    gone.unlink()
    with pytest.raises(InputError, match=gone.name):
        convert(folder, tmp_path / "two")


def test_other_files_are_counted(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_text("mine")
    (folder / ".hidden").write_text("mine")
    assert dict(convert(folder, tmp_path / "two").manifest.ignored) == {"file that is not in metadata.jsonl": 1}


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "", 7, "a\0b"])
def test_a_line_that_leads_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, name: Any) -> None:
    lines = (folder / "metadata.jsonl").read_text("utf-8").splitlines()
    first = json.loads(lines[0]) | {"raw_path": name}
    (folder / "metadata.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]), "utf-8")
    with pytest.raises(UnsafeDataError, match=r"metadata\.jsonl, line 1"):
        convert(folder, tmp_path / "two")


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"file_name": "a"}', b"\xff"])
def test_a_damaged_line_is_named(folder: Path, tmp_path: Path, line: bytes) -> None:
    with (folder / "metadata.jsonl").open("ab") as file:
        file.write(line)
    with pytest.raises(InputError, match=rf"metadata\.jsonl, line {COUNT + 1} is no JSON object"):
        convert(folder, tmp_path / "two")


@pytest.mark.parametrize("note", [b"", b"{}", b"[]", b'{"export_version": 2, "fields": [], "sample_type": "dict"}'])
@pytest.mark.parametrize("to", ["folder", "tfrecord"])
def test_a_damaged_note_is_named(tmp_path: Path, to: str, note: bytes) -> None:
    _, out = exported([rich(n) for n in range(COUNT)], tmp_path, to, fields=[LABEL, KIND, SPECTRUM])
    (out / "shardwright.json").write_bytes(note)
    with pytest.raises(InputError, match=r"shardwright\.json is no note"):
        convert(out, tmp_path / "two")


def test_ranks_read_an_exported_folder_alike(folder: Path, tmp_path: Path) -> None:
    for rank in (0, 1):
        options = {"num_workers": 0, "progress": False, "images_per_file": 3, "wait": False}
        ParquetConverter(folder, tmp_path / "two", rank=rank, num_replicas=2, **options).convert()
    check_all_comes_back(
        open_reader(folder.parent / "one", output="numpy"), open_reader(tmp_path / "two", output="numpy")
    )


def test_the_choice_about_exif_comes_back(tmp_path: Path) -> None:
    data = [{"image": pixels(n), "id": n} for n in range(COUNT)]
    for to in ("folder", "tfrecord", "webdataset"):
        _, out = exported(data, tmp_path / to, to, exif="apply")
        assert convert(out, tmp_path / to / "two").fields[0].exif == "apply"
