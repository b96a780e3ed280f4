"""TFRecord files that are indexed where they lie: the same fields and values as a conversion gives."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.export import export
from shardwright.base.fields import Field
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_files, open_source
from shardwright.base.reader import open_reader
from shardwright.base.verify import verify
from shardwright.parquet.converter import ParquetConverter
from shardwright.tfrecord.example import build_example
from shardwright.tfrecord.frames import framed
from shardwright.tfrecord.source import TFRecordSource
from tests.conformance.tools import encoded, picture

DATA = Path(__file__).parents[1] / "data/tfrecord"
COUNT = 7


def write_records(path: Path, examples: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(part for example in examples for part in framed(build_example(example))))
    return path


def example(number: int) -> dict[str, Any]:
    return {
        "image/encoded": [encoded(picture(number), "JPEG")],
        "image/class/label": np.array([number // 3], np.int64),
        "image/class/text": [b"class %d" % (number // 3)],
    }


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Two files, sorted by class: class 0 is in the first one alone."""
    examples = [example(number) for number in range(COUNT)]
    write_records(tmp_path / "records/train-00000-of-00002", examples[:4])
    write_records(tmp_path / "records/train-00001-of-00002", examples[4:])
    return tmp_path / "records"


def test_an_index_and_a_conversion_give_the_same(records: Path, tmp_path: Path) -> None:
    converted = ParquetConverter(records, tmp_path / "out", num_workers=0).convert()
    manifest = index_files(records)
    assert converted is not None
    assert (manifest.format, len(manifest.shards), manifest.num_samples) == ("tfrecord", 2, COUNT)
    assert [f.name for f in manifest.fields] == [f.name for f in converted.fields] == ["image", "label"]
    assert manifest.ignored == converted.ignored == {}
    indexed, copied = (open_reader(path, output="bytes") for path in (records, tmp_path / "out"))
    assert [indexed[n] for n in range(COUNT)] == [copied[n] for n in range(COUNT)]
    assert [indexed[n] for n in range(COUNT)] == [(encoded(picture(n), "JPEG"), n // 3) for n in range(COUNT)]
    assert (
        indexed.fields[1] == copied.fields[1] == Field("label", "class_label", names=("class 0", "class 1", "class 2"))
    )


@pytest.mark.parametrize(
    "texts",
    [[b"a", b"b", b"b"], [b"a", b"b"], [b"a", b"b", None], [b"a", b"b", b"c", b"other"], [b"a", b"b", b"\xff"]],
    ids=["one name twice", "a number is missing", "one without", "two names of a number", "no UTF-8"],
)
def test_names_that_do_not_name_every_number_are_told(tmp_path: Path, texts: list[bytes | None]) -> None:
    numbers = [0, 3] if len(texts) == 2 else [0, 1, 2, 2]
    examples = [
        example(n) | {"image/class/label": np.array([n], np.int64), "image/class/text": [] if text is None else [text]}
        for n, text in zip(numbers, texts, strict=False)
    ]
    source = TFRecordSource(write_records(tmp_path / "records/train-00000-of-00001", examples))
    assert "label" not in source.fields or source.fields["label"].names is None
    assert "feature image/class/text" in source.ignored


def test_the_names_of_labels_with_an_offset(tmp_path: Path) -> None:
    examples = [example(n + 3) for n in range(COUNT)]
    source = TFRecordSource(write_records(tmp_path / "records/train-00000-of-00001", examples), label_offset=1)
    assert source.fields["label"].names == ("class 1", "class 2", "class 3")
    assert source[0]["label"] == 0


def test_an_index_of_every_file_is_verified(records: Path) -> None:
    index_files(records)
    assert not verify(records).problems
    shard = records / "train-00001-of-00002"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert any(shard.name in str(problem) for problem in verify(records).problems)


def test_texts_bytes_and_numbers_are_read_and_lists_left_out(tmp_path: Path) -> None:
    data = [
        {"image": picture(n), "mask": np.full((10, 14), n, np.uint8), "caption": f"ü{n}", "raw": bytes([n, 255])}
        | {"dose": n / 2, "count": 10**12 + n, "empty": "", "points": np.arange(3, dtype=np.float32)}
        for n in range(COUNT)
    ]
    export(data, tmp_path / "out", "tfrecord")
    source = TFRecordSource(tmp_path / "out", features={name: name for name in ("caption", "raw", "dose", "count")})
    (found,) = source.places()
    assert {f.name: f.kind for f in found.fields} == {
        "caption": "text",
        "raw": "bytes",
        "dose": "float",
        "count": "int",
    }
    everything = {"image": "image/encoded", "mask": "mask/encoded", "empty": "empty", "points": "points"}
    (found,) = TFRecordSource(tmp_path / "out", features=everything).places()
    assert {f.name: f.kind for f in found.fields} == {"image": "image", "mask": "mask", "empty": "text"}
    assert found.left_out == {"field points: a list of values": COUNT}
    wanted = TFRecordSource(tmp_path / "out", features=everything)
    with found.files[0].open("rb") as file:
        for name in ("image", "mask"):
            for row in range(COUNT):
                file.seek(found.ranges[name].offsets[row])
                assert file.read(found.ranges[name].lengths[row]) == wanted[row][name].data


def test_labels_lose_their_offset(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", [example(n) for n in range(3, COUNT)])
    (found,) = TFRecordSource(path, label_offset=1).places()
    assert found.scalars["label"].tolist() == [0, 0, 0, 1]
    for read in (index_files, open_source):
        with pytest.raises(ConfigError, match=r"0 does not occur: .*TFRecordSource\(path, label_offset=\.\.\.\)"):
            read(path)


def test_what_is_compressed_has_to_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes((DATA / "records.tfrecord.gz").read_bytes())
    with pytest.raises(InputError, match=r"field 'image': compressed.*convert it.*ParquetConverter"):
        TFRecordSource(path, label_offset=1).places()


def test_a_file_that_changes_meanwhile_is_named(records: Path) -> None:
    source = TFRecordSource(records)
    assert source.changed() is None
    (records / "train-00001-of-00002").write_bytes(b"")
    assert str(source.changed()).endswith("train-00001-of-00002")


def test_the_split_that_is_wanted_is_taken_if_it_is_there(records: Path) -> None:
    write_records(records / "validation-00000-of-00001", [example(n) for n in range(2)])
    assert len(open_files(records, "train")) == COUNT
    assert len(open_files(records, "validation")) == 2
    with pytest.raises(ConfigError, match="several splits"):
        open_files(records, "test")
    assert index_files(records, split="validation").num_samples == 2


def test_a_tfds_folder_keeps_its_class_names() -> None:
    """``dataset_info.json`` and ``features.json`` say what the records do not."""
    (folder,) = {path.parent for path in DATA.rglob("features.json")}
    source, wanted = open_files(folder, "train"), TFRecordSource(folder, split="train")
    assert (source.content(), source.fields, source.ignored) == (wanted.content(), wanted.fields, wanted.ignored)
    (found,) = source.places()[:1]
    names = {f.name: f.names for f in found.fields}
    assert {name: names[name] for name in names if names[name]} == {
        name: f.names for name, f in wanted.fields.items() if f.names
    }
    for row in range(found.count):
        for name, values in found.scalars.items():
            assert values[row] == wanted[row][name]


def test_readers_need_no_protobuf(records: Path) -> None:
    index_files(records)
    code = f"""
import sys
sys.modules["google"] = sys.modules["google_crc32c"] = None
from shardwright.base.reader import open_reader
print(len(open_reader({str(records)!r})[3][0].tobytes()) > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
