"""TFRecord files of tf.train.Example as a source, read without TensorFlow.

Every file is read once at the start: both checksums of each record are
checked, and it is seen which features there are and how long they get. Then
records are read in any order. Encoded images keep their bytes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field, sample_type_of
from shardwright.base.source import Places, Source, digest_of, not_in_place
from shardwright.base.split.classes import label_field
from shardwright.base.storage.ranges import Ranges
from shardwright.base.values.export_note import ExportNote
from shardwright.base.values.infer import infer_field
from shardwright.tfrecord.class_texts import ClassTexts
from shardwright.tfrecord.columns import (
    STANDARD,
    TEXT,
    Column,
    column_of,
    exported_columns,
    number_of,
    value_of,
)
from shardwright.tfrecord.example import Example, FeatureStats, parse_example
from shardwright.tfrecord.files import RecordSet, find_record_set, splits_in
from shardwright.tfrecord.frames import RecordFile, open_records

__all__ = ["TFRecordSource", "open_tfrecord", "read_examples"]


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


class TFRecordSource(Source):
    """A TFRecord file, several, or a folder of them; TFDS folders too.

    Fields are, in this order of precedence: what `features` says; what an export of this
    library has noted beside the files; all features that TFDS describes; image and label from ``image/encoded`` and
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

    keeps_samples = True

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
        self._texts = ClassTexts()
        self._files = tuple(open_records(file, self._look) for file in found.files)
        self._starts = np.cumsum([0, *map(len, self._files)])
        _check_counts(self._files, found)
        asked = not (features is None and label_offset is None and classes is None)
        note = None if asked or found.features else ExportNote.read(Path(found.files[0]).absolute().parent)
        if note is not None:
            self._columns, self._offset = exported_columns(note.fields, self._stats), 0
            self.fields, self.sample_type = note.fields, note.sample_type
        else:
            self._columns = self._chosen_columns(features, found)
            self.sample_type = sample_type_of(self._columns)
            self._offset = self._label_offset(label_offset, found, classes)
            self.fields = self._known_fields(found, classes)
            self.ignored = self._left_out()
        label = label_field(tuple(self.fields.values()))
        self.labels_from = f"feature {self._columns[label.name].feature}" if label else ""
        self.nbytes = sum(file.file.size for file in self._files)

    def _chosen_columns(self, features: Mapping[str, str] | None, found: RecordSet) -> dict[str, Column]:
        return {
            name: column_of(name, key, self._stats[key], len(self), found.features.get(key))
            for name, key in _choose(features, self._stats, found).items()
        }

    def _left_out(self) -> dict[str, int]:
        """Return the features that no field is made of; the names of classes are part of their field."""
        used = {column.feature for column in self._columns.values()}
        if "label" in self.fields and self.fields["label"].names and self._class_texts() == self.fields["label"].names:
            used.add(TEXT)
        return {f"feature {name}": self._stats[name].records for name in sorted(self._stats.keys() - used)}

    def _class_texts(self) -> tuple[str, ...] | None:
        """Return the names of the classes that the records say themselves, if all have one."""
        column = self._columns.get("label")
        return self._texts.names(self._offset) if column and column.feature == STANDARD["label"] else None

    def _look(self, data: bytes, where: str) -> None:
        example = parse_example(data, where)
        self._texts.add(example)
        for name, values in example.items():
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
            if name == "label":
                names = (names or self._class_texts()) if classes is None else tuple(classes)
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
        sample = {name: value_of(column, example) for name, column in self._columns.items()}
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
        lists = {
            name
            for name, column in self._columns.items()
            if column.field.kind == "array" or (column.field.kind == "json" and not column.exported)
        }
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
                values[number] = number_of(self._columns[name], example)
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
    if not found.features and STANDARD["image"] in stats:
        return {name: key for name, key in STANDARD.items() if key in stats}
    full = [key for key in stats if stats[key].kind is not None]
    # Image and label first: that is the order in which a tuple gives them.
    full.sort(key=lambda key: (key != "image", key != "label", key))
    chosen = {re.sub(r"[^A-Za-z0-9_]", "_", key): key for key in full}
    if len(chosen) != len(full):
        raise ConfigError(f"two features get the same field name; choose with features={{name: feature}} of {full}")
    return chosen
