"""What we export comes back when it is converted: numbers, class names, further fields."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import ConfigError
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
