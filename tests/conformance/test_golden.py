"""Splits that version 0.1.0 wrote or indexed open, read and verify as they did."""

import json
from pathlib import Path
from typing import Any

import pytest
import xxhash

from shardwright import open_reader, verify
from shardwright.base.formats import format_names

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))
INDEXED = {"tar", "parquet", "arrow", "arrows", "npy", "h5"}


def hash_of(value: Any) -> str:
    return xxhash.xxh3_64_hexdigest(value.tobytes() if hasattr(value, "tobytes") else bytes(value))


def test_there_is_a_golden_split_of_every_format_and_of_every_technology_indexed_in_place() -> None:
    wanted = {f"{name}{end}" for name in format_names() for end in ("", "_fields")}
    assert set(NAMES) == wanted | {f"indexed_{name}" for name in INDEXED}


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_split_reads_as_when_it_was_written(name: str) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    files = {
        path.relative_to(GOLDEN / name).as_posix(): xxhash.xxh3_64_hexdigest(path.read_bytes())
        for path in (GOLDEN / name).rglob("*")
        if path.is_file()
    }
    assert files == expected["files"], "a golden split was changed: take it from the repository's history"
    reader = open_reader(GOLDEN / name, split=expected["split"], check=True)
    assert reader.manifest.format == expected["format"]
    assert reader.manifest.sample_type == expected["sample_type"]
    assert [f.to_json() for f in reader.fields] == expected["fields"]
    assert reader.classes == expected["classes"]
    assert reader.targets.tolist() == expected["targets"]
    columns = reader.read_columns(range(len(reader)))
    assert {field: [hash_of(value) for value in column] for field, column in columns.items()} == expected["stored"]
    assert len([*reader]) == len(expected["targets"])
    report = verify(GOLDEN / name)
    assert report.ok, report.problems
