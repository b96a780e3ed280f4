"""Manifests and indices from anywhere: what is not ours is refused, and nothing is trusted unchecked."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from shardwright.base.errors import ConfigError, CorruptShardError, IncompleteDatasetError, UnsafeDataError
from shardwright.base.fields import Field
from shardwright.base.reader import open_reader
from shardwright.base.split.index import index_dtype
from shardwright.base.split.manifest import Manifest, Shard
from shardwright.base.storage.atomic import StoredFile
from shardwright.base.storage.hashes import hash_file
from shardwright.base.storage.ranges import Ranges, check_ranges
from shardwright.base.storage.strict_json import canonical_json, parse_json
from shardwright.base.verify import verify
from tests.conformance.tools import Store, numbered

MANIFEST_ERRORS = (UnsafeDataError, IncompleteDatasetError, CorruptShardError)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Store("tar", tmp_path_factory.mktemp("tar")).convert(numbered(4), images_per_file=3)


@pytest.fixture
def split(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "split")


def values_of(split: Path) -> dict[str, Any]:
    return json.loads((split / "metadata" / "train.json").read_bytes())


def forge(split: Path, values: dict[str, Any]) -> None:
    """Write a manifest with a hash that is right, as somebody who knows the format can."""
    values = {k: v for k, v in values.items() if k != "self_hash"}
    values["self_hash"] = xxhash.xxh3_64_hexdigest(canonical_json(values).encode())
    (split / "metadata" / "train.json").write_text(canonical_json(values))


def test_a_manifest_is_the_same_after_a_round_trip(pristine: Path):
    content = (pristine / "metadata" / "train.json").read_bytes()
    manifest = Manifest.from_bytes(content, pristine)
    assert manifest.to_bytes() == content
    assert (manifest.num_samples, [shard.num_samples for shard in manifest.shards]) == (4, [3, 1])


def test_what_a_notebook_shows_is_short(pristine: Path):
    manifest = open_reader(pristine).manifest
    text = repr(manifest)
    assert "\n" not in text
    assert len(text) < 200
    for part in (manifest.format, "'train'", f"{manifest.num_samples} samples in {len(manifest.shards)} shards"):
        assert part in text
    for field in (Field("image", "image"), Field("label", "class_label", names=("a", "b")), *manifest.fields):
        assert eval(repr(field), {"Field": Field}) == field
    assert repr(Field("image", "image")) == "Field(name='image', kind='image')"


def test_a_forged_manifest_that_changes_nothing_is_read(split: Path):
    """The control of `forge`."""
    forge(split, values_of(split))
    assert len(open_reader(split)) == 4


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one entry: ``shards.0.num_samples``."""

    def apply(values: Any) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            values = values[part]
        values[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(
            (f"shards.0.files.0.{name}", v)
            for name, v in (("size", -1), ("size", 2**63), ("size", True), ("size", 1.0))
        ),
        *(("shards.0.files.0.xxh3", v) for v in ("", "0" * 15, "G" * 16, 7, None)),
        *(("shards.0.num_samples", v) for v in (4, 2, -1, 2**63, "3", None, True)),
        ("shards.0.files", []),
        ("shards.0.files.0", {"name": "a"}),
        ("shards", None),
        ("shards", {}),
        ("num_samples", 5),
        ("fields", []),
        ("fields.0", {"name": "image", "kind": "pickle"}),
        ("fields.0.name", "../x"),
        ("fields.1.kind", "float"),
        ("field_files", {}),
        ("field_files.image", 1),
        ("field_files.image", -1),
        ("field_files.image", "0"),
        ("sample_type", "list"),
        ("split", "../train"),
        ("split", "test"),
        ("index.size", 64),
        ("index.name", "/etc/passwd"),
        ("extra", [{"name": "..", "size": 1, "xxh3": "0" * 16}]),
        ("format", "nonsense"),
        ("format", "hdf5/../x"),
        ("unknown", 1),
    ],
)
def test_forged_entries_are_refused(split: Path, path: str, value: Any):
    """Faults 107, 122: also where the hash of the manifest fits."""
    values = values_of(split)
    change(path, value)(values)
    forge(split, values)
    with pytest.raises((*MANIFEST_ERRORS, ConfigError)):
        open_reader(split)
    assert not verify(split).ok


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "",
        ".hidden",
        "a\0b",
        "..\\x",
        "C:\\x",
        "x" * 300,
        "line\n",
        7,
        None,
        ["a"],
    ],
)
def test_names_that_lead_elsewhere_are_refused(split: Path, name: Any):
    """Fault 114."""
    with pytest.raises(UnsafeDataError):
        StoredFile(name, 1, "0" * 16)
    values = values_of(split)
    values["shards"][0]["files"][0]["name"] = name
    forge(split, values)
    with pytest.raises(UnsafeDataError):
        open_reader(split)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 200_000 + b"]" * 200_000,
        b" " * (64 * 2**20 + 1),
    ],
    ids=["repeated key", "NaN", "Infinity", "-Infinity", "5000 digits", "200,000 deep", "too long"],
)
def test_json_that_no_library_writes_is_unsafe(split: Path, text: bytes):
    """Fault 122."""
    with pytest.raises(UnsafeDataError):
        parse_json(text, "x")
    (split / "metadata" / "train.json").write_bytes(text)
    with pytest.raises(UnsafeDataError):
        open_reader(split)


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff\xfe", b"{", bytes(100)])
def test_what_is_no_manifest_is_incomplete(split: Path, text: bytes):
    """Fault 61."""
    (split / "metadata" / "train.json").write_bytes(text)
    with pytest.raises(IncompleteDatasetError, match=r"train\.json"):
        open_reader(split)


@pytest.mark.parametrize("version", [0, 2, "1", True, None])
def test_another_version_is_named(split: Path, version: Any):
    """Fault 111."""
    values = values_of(split)
    forge(split, {**values, "format_version": version})
    with pytest.raises(IncompleteDatasetError, match="format version"):
        open_reader(split)


def test_a_manifest_under_another_name_is_refused(split: Path):
    shutil.copy(split / "metadata" / "train.json", split / "metadata" / "test.json")
    with pytest.raises(CorruptShardError, match="'train'"):
        open_reader(split, split="test")


def reindex(split: Path, edit: Callable[[np.ndarray], None]) -> None:
    """Change the index, and the manifest so that its hash fits."""
    path = split / "metadata" / "train.index.npy"
    records = np.load(path)
    edit(records)
    np.save(path, records)
    values = values_of(split)
    values["index"] |= {"size": path.stat().st_size, "xxh3": hash_file(path)}
    forge(split, values)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("image_offset", -1),
        ("image_offset", 2**62),
        ("image_offset", 2**63 - 1),
        ("image_length", -1),
        ("image_length", 2**62),
        ("image_length", 2**63 - 1),
        ("image_length", 1),
        ("image_offset", 0),
        ("image_xxh3", 0),
    ],
)
def test_a_forged_index_gives_errors_and_never_foreign_bytes(split: Path, column: str, value: int):
    """Fault 123: ranges outside of the file, or that wrap; no memory is taken for them either."""
    reindex(split, lambda records: records[column].__setitem__(1, value))
    assert not verify(split).ok
    with pytest.raises(CorruptShardError, match="sample 1 "):
        open_reader(split)[1]


def test_an_index_of_another_shape_is_unsafe(split: Path):
    path = split / "metadata" / "train.index.npy"
    np.save(path, np.zeros(4, [("label", "<i8")]))
    values = values_of(split)
    values["index"] |= {"size": path.stat().st_size, "xxh3": hash_file(path)}
    forge(split, values)
    with pytest.raises(UnsafeDataError):
        open_reader(split)


def test_an_index_with_objects_is_never_unpickled(split: Path, tmp_path: Path):
    """Faults 112, 113."""
    path = split / "metadata" / "train.index.npy"
    np.save(path, np.array([Canary(tmp_path / "canary")] * 4, dtype=object), allow_pickle=True)
    values = values_of(split)
    values["index"] |= {"size": path.stat().st_size, "xxh3": hash_file(path)}
    forge(split, values)
    with pytest.raises(UnsafeDataError):
        open_reader(split)
    assert not (tmp_path / "canary").exists()


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_the_canary_sings(tmp_path: Path):
    """The control of the test before."""
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 101), (100, 1), (101, 0), (50, 2**63 - 1), (2**63 - 1, 1)])
def test_ranges_outside_of_a_file_are_corrupt(offset: int, length: int):
    """Fault 123."""
    ranges = Ranges(Path("x"), np.array([0, offset]), np.array([100, length]))
    with pytest.raises(CorruptShardError, match="value 1"):
        check_ranges(ranges, 100)
    check_ranges(Ranges(Path("x"), np.array([0, 100]), np.array([100, 0])), 100)


def test_fields_survive_json():
    fields = [
        Field("label", "class_label", names=("a", "ü")),
        Field("image", "image", "|u1", (2, 3, 3), mode="RGB", layout="HWC", compression="gzip"),
        Field("mask", "mask", palette=(0, 0, 0, 255, 255, 255)),
        Field("points", "array"),
    ]
    assert [Field.from_json(json.loads(json.dumps(f.to_json()))) for f in fields] == fields
    assert index_dtype(fields).names[0] == "label"


def test_a_shard_cannot_hold_a_negative_number():
    with pytest.raises(UnsafeDataError):
        Shard(-1, ())


def test_the_hash_is_over_all_values(pristine: Path):
    manifest = Manifest.from_bytes((pristine / "metadata" / "train.json").read_bytes(), pristine)
    assert replace(manifest, skipped=1).to_bytes() != manifest.to_bytes()
    text = manifest.to_bytes().replace(b'"skipped": 0', b'"skipped": 1')
    with pytest.raises(IncompleteDatasetError, match="hash"):
        Manifest.from_bytes(text, pristine)
