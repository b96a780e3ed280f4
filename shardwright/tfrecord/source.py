"""TFRecord files of tf.train.Example as a source, read without TensorFlow.

Every file is read once at the start: both checksums of each record are
checked, and it is seen which features there are and how long they get. Then
records are read in any order. Encoded images keep their bytes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field, sample_type_of
from shardwright.base.images import EncodedImage
from shardwright.base.source import Places, Source, digest_of, not_in_place
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.infer import infer_field
from shardwright.tfrecord.example import Example, FeatureStats, Values, parse_example
from shardwright.tfrecord.files import RecordSet, TfdsFeature, find_record_set, splits_in
from shardwright.tfrecord.frames import RecordFile, open_records

__all__ = ["TFRecordSource", "open_tfrecord", "read_examples"]

# The names that TensorFlow's own scripts give to images and labels.
_STANDARD = {"image": "image/encoded", "label": "image/class/label"}
_FILENAME = "image/filename"


def read_examples(path: Any, split: str | None = None) -> Iterator[Example]:
    """Yield every record of a TFRecord set with all its features, in order.

    Parameters
    ----------
    path, split
        As `TFRecordSource`.

    Yields
    ------
    dict of str to list of bytes, int64 array or float32 array
    """
    for file in find_record_set(path, split).files:
        records = open_records(file, lambda _data, _where: None)
        for number in range(len(records)):
            yield parse_example(records.read(number), f"{records.file.shown}, record {number}")


@dataclass(frozen=True, slots=True)
class _Column:
    """How a field is made of a feature."""

    feature: str
    field: Field
    shape: tuple[int, ...] = ()  # of an array; -1: any


class TFRecordSource(Source):
    """A TFRecord file, several, or a folder of them; TFDS folders too.

    Fields are, in this order of precedence: what `features` says; all features
    that TFDS describes; image and label from ``image/encoded`` and
    ``image/class/label`` where those are; else all features, under their names.
    What is left out is named in `ignored`.

    Parameters
    ----------
    path : path or sequence of paths
        Plain or gzipped files.
    split : str, optional
        Which of a folder's splits; needed if there are several.
    features : mapping of str to str, optional
        Field name to feature name, for example ``{"image": "image/encoded"}``.
    label_offset : int, optional
        What to subtract from every label. Needed where labels begin above 0:
        some sets count from 1, in others class 0 just does not occur.
    classes : sequence of str, optional
        Names of the classes, counted from 0 after the offset.

    Raises
    ------
    InputError
        If a file is cut or damaged; the message names file and record.
    ConfigError
        If an option is wrong or needed, or a library is not installed.

    Examples
    --------
    >>> source = TFRecordSource("train-00000-of-00001", label_offset=1)  # doctest: +SKIP
    >>> source[0]["label"]  # doctest: +SKIP
    0
    """

    format_name = "tfrecord"

    def __init__(
        self,
        path: Any,
        *,
        split: str | None = None,
        features: Mapping[str, str] | None = None,
        label_offset: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        found = find_record_set(path, split)
        self._stats: dict[str, FeatureStats] = {}
        self._files = tuple(open_records(file, self._look) for file in found.files)
        self._starts = np.cumsum([0, *map(len, self._files)])
        _check_counts(self._files, found)
        chosen = _choose(features, self._stats, found)
        self._columns = {
            name: _column(name, key, self._stats[key], len(self), found.features.get(key))
            for name, key in chosen.items()
        }
        self.sample_type = sample_type_of(chosen)
        self._offset = self._label_offset(label_offset, found, classes)
        self.fields = self._known_fields(found, classes)
        unused = sorted(self._stats.keys() - set(chosen.values()))
        self.ignored = {f"feature {name}": self._stats[name].records for name in unused}
        self.nbytes = sum(file.file.size for file in self._files)

    def _look(self, data: bytes, where: str) -> None:
        for name, values in parse_example(data, where).items():
            self._stats.setdefault(name, FeatureStats()).add(name, values, where)

    def _label_offset(self, offset: int | None, found: RecordSet, classes: Sequence[str] | None) -> int:
        """Return what to subtract from labels: as asked, and asked for where that is not clear."""
        column = self._columns.get("label")
        if column is None or column.field.kind != "int":
            if offset is not None or classes is not None:
                raise ConfigError("label_offset= and classes= are for a field 'label' of whole numbers; there is none")
            return 0
        stats = self._stats[column.feature]
        if offset is None:
            if column.feature not in found.features and stats.low > 0:
                raise ConfigError(
                    f"labels ({column.feature}) run from {stats.low} to {stats.high}, 0 does not occur: say "
                    "label_offset=1 if classes are counted from 1 (they are stored from 0), or label_offset=0 to "
                    "keep them as they are, and convert TFRecordSource(path, label_offset=...)"
                )
            return 0
        if type(offset) is not int or stats.low - offset < 0:
            raise ConfigError(f"label_offset={offset!r} must be a whole number of at most {stats.low}, the least label")
        return offset

    def _known_fields(self, found: RecordSet, classes: Sequence[str] | None) -> dict[str, Field]:
        # The first sample shows what kind of images there are.
        fields = {name: column.field for name, column in self._columns.items() if column.field.kind != "image"}
        for name, column in self._columns.items():
            described = found.features.get(column.feature)
            names = described.names if described else None
            if name == "label" and classes is not None:
                names = tuple(classes)
            if names is None or column.field.kind != "int":
                continue
            high = self._stats[column.feature].high - (self._offset if name == "label" else 0)
            if high >= len(names):
                raise InputError(f"label {high} of feature {column.feature!r} has no name: there are {len(names)}")
            fields[name] = Field(name, "class_label", names=names)
        return fields

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _place(self, index: int) -> tuple[RecordFile, int]:
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._files[file], index - int(self._starts[file])

    def __getitem__(self, index: int) -> dict[str, Any]:
        file, number = self._place(index)
        example = parse_example(file.read(number), self.name(index))
        sample = {name: _value(column, example) for name, column in self._columns.items()}
        if self._offset:
            sample["label"] -= self._offset
        return sample

    def name(self, index: int) -> str:
        """Return file and number of the record."""
        file, number = self._place(index)
        return f"{file.file.shown}, record {number}"

    def places(self) -> list[Places]:
        """Return where images, texts and bytes lie in the records; lists of values and gzipped files are elsewhere."""
        elsewhere = self._elsewhere()
        first = self[0] if len(self) else {}
        every = [self.fields.get(name) or infer_field(name, first[name]) for name in self._columns]
        fields = tuple(f for f in every if f.name not in elsewhere)
        if all(f.is_scalar for f in fields) or (any(f.is_image for f in every) and not any(f.is_image for f in fields)):
            reasons = "; ".join(f"field {name!r}: {why}" for name, why in sorted(elsewhere.items()))
            raise not_in_place(self._files[0].file.shown, reasons or "it holds numbers only")
        return [self._places_in(file, fields, elsewhere) for file in self._files if len(file)]

    def _elsewhere(self) -> dict[str, str]:
        """Return the fields whose values do not lie in the files as they are, and why."""
        gzipped = any(file.source is not file.file for file in self._files)
        lists = {name for name, column in self._columns.items() if column.field.kind in ("array", "json")}
        big = {name for name, column in self._columns.items() if gzipped and not column.field.is_scalar}
        return dict.fromkeys(lists, "a list of values") | dict.fromkeys(big, "compressed")

    def _places_in(self, file: RecordFile, fields: tuple[Field, ...], elsewhere: Mapping[str, str]) -> Places:
        path, count = Path(file.file.path), len(file)
        scalars = {f.name: np.zeros(count, f.dtype) for f in fields if f.is_scalar}
        ranges = {f.name: Ranges(path, *np.zeros((2, count), np.int64)) for f in fields if not f.is_scalar}
        for number in range(count):
            data = file.read(number)
            example = parse_example(data, f"{file.file.shown}, record {number}")
            for name, values in scalars.items():
                values[number] = example[self._columns[name].feature][0]
            for name, found in ranges.items():
                value = example[self._columns[name].feature][0]
                # The message stores byte strings as they are; where the same bytes stand twice, either will do.
                found.offsets[number] = file.offsets[number] + data.index(value)
                found.lengths[number] = len(value)
        if self._offset:
            scalars["label"] -= self._offset
        left_out = {f"field {name}: {why}": count for name, why in sorted(elsewhere.items())}
        return Places(count, fields, ranges, scalars, (path,), left_out)

    def changed(self) -> str | None:
        """Return the file that has another size or time than when it was read, if there is one."""
        return next((file.file.shown for file in self._files if file.file.has_changed()), None)

    def content(self) -> dict[str, Any]:
        """Return the number of records, an xxh3-128 of their lengths, and how fields are made."""
        return {
            "num_samples": len(self),
            "digest": digest_of(*(file.lengths for file in self._files)),
            "features": {name: column.feature for name, column in self._columns.items()},
            "label_offset": self._offset,
        }

    def state(self) -> str:
        """Return a digest of paths, sizes and modification times."""
        return digest_of(repr([(file.file.path, file.file.identity) for file in self._files]).encode())


def open_tfrecord(path: Any, split: str | None = None) -> TFRecordSource:
    """Return the source of files, or of a folder, of which `split` is taken if it is there."""
    return TFRecordSource(path, split=split if split in splits_in(path) else None)


def _check_counts(files: Sequence[RecordFile], found: RecordSet) -> None:
    for file, count in zip(files, found.counts or (), strict=False):
        if len(file) != count:
            raise InputError(f"{file.file.shown} has {len(file)} records of {count} (dataset_info.json): copy it again")


def _choose(features: Mapping[str, str] | None, stats: Mapping[str, FeatureStats], found: RecordSet) -> dict[str, str]:
    """Return field name to feature name."""
    if features is not None:
        unknown = sorted(set(features.values()) - stats.keys())
        if unknown or not features:
            raise ConfigError(f"features= names {unknown or 'nothing'}; the records have {sorted(stats)}")
        return dict(features)
    if not found.features and _STANDARD["image"] in stats:
        return {name: key for name, key in _STANDARD.items() if key in stats}
    full = [key for key in stats if stats[key].kind is not None]
    # Image and label first: that is the order in which a tuple gives them.
    full.sort(key=lambda key: (key != "image", key != "label", key))
    chosen = {re.sub(r"[^A-Za-z0-9_]", "_", key): key for key in full}
    if len(chosen) != len(full):
        raise ConfigError(f"two features get the same field name; choose with features={{name: feature}} of {full}")
    return chosen


def _column(name: str, key: str, stats: FeatureStats, records: int, described: TfdsFeature | None) -> _Column:
    """Return what a feature becomes, seen from all its records."""
    fixed = stats.records == records and stats.shortest == stats.longest
    single = fixed and stats.longest == 1
    if stats.kind is None:
        raise ConfigError(f"feature {key!r} is empty in all records: leave it out of features=")
    if stats.kind == "bytes":
        return _Column(key, Field(name, _bytes_kind(key, stats, single, described)))
    dtype = {"int": "<i8", "float": "<f4"}[stats.kind]
    shape: tuple[int, ...] = (stats.longest if fixed else -1,)
    if described is not None and described.kind in ("tensor", "sequence", "bboxFeature") and described.shape:
        dtype, shape = np.dtype(described.dtype or dtype).str, described.shape
    elif single:
        return _Column(key, Field(name, stats.kind))
    return _Column(key, Field(name, "array", dtype, None if -1 in shape else shape), shape)


def _bytes_kind(key: str, stats: FeatureStats, single: bool, described: TfdsFeature | None) -> str:
    """Return the kind of field that byte strings become; lists of texts become JSON."""
    if described is not None and (described.encoding != "none" or (described.kind == "image" and not stats.images)):
        raise InputError(f"feature {key!r} is stored in a way that is not read: choose others with features=")
    if described is not None and described.kind == "image" and described.dtype not in ("uint8", "uint16"):
        raise InputError(f"feature {key!r} holds images of {described.dtype}: choose others with features=")
    if single:
        return "image" if stats.images else "text" if stats.text else "bytes"
    if stats.text:
        return "json"
    raise InputError(f"feature {key!r} holds {stats.shortest} to {stats.longest} byte strings: choose with features=")


def _value(column: _Column, example: Example) -> Any:
    values: Values = example.get(column.feature, [])
    if column.field.kind == "array":
        return np.asarray(values).astype(column.field.dtype).reshape(column.shape)
    if column.field.kind == "json":
        return [bytes(value).decode() for value in values]
    value = values[0]
    if column.field.kind == "image":
        return EncodedImage(value, _file_name(example))
    if isinstance(value, bytes):
        return value.decode() if column.field.kind == "text" else value
    return value.item()


def _file_name(example: Example) -> str:
    found = example.get(_FILENAME, [])
    return bytes(found[0]).decode("utf-8", "backslashreplace") if isinstance(found, list) and found else ""
