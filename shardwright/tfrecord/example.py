"""tf.train.Example: the message that most TFRecord files hold, without TensorFlow.

The message is declared here to protobuf's own library, in a pool of its own, so
that a TensorFlow in the same process is not disturbed.
"""

import functools
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.images.probe import is_image_start
from shardwright.tfrecord.frames import INSTALL

__all__ = ["Example", "FeatureStats", "Values", "build_example", "parse_example"]

# What the list of a feature becomes: list of bytes, int64 array or float32 array.
Values = list[bytes] | NDArray[np.int64] | NDArray[np.float32]
Example = dict[str, Values]
_LISTS = {
    "bytes_list": ("BytesList", "TYPE_BYTES"),
    "float_list": ("FloatList", "TYPE_FLOAT"),
    "int64_list": ("Int64List", "TYPE_INT64"),
}
_MESSAGE = 11  # protobuf's TYPE_MESSAGE


@functools.cache
def _library() -> tuple[Any, type[Exception], Callable[[Any], Sized]]:
    """Return the class of the message, what it raises for bytes that are none, and what lists unknown parts."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, unknown_fields
    except ImportError as error:
        raise ConfigError(INSTALL) from error
    file = descriptor_pb2.FileDescriptorProto(name="shardwright/example.proto", package="shardwright", syntax="proto3")
    _declare(file, descriptor_pb2.FieldDescriptorProto)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    example = message_factory.GetMessageClass(pool.FindMessageTypeByName("shardwright.Example"))
    return example, message.DecodeError, unknown_fields.UnknownFieldSet


def _declare(file: Any, types: Any) -> None:
    """Declare Example, Features, Feature and its three kinds of lists."""
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (kind, value)) in enumerate(_LISTS.items(), 1):
        values = file.message_type.add(name=kind)
        values.field.add(name="value", number=1, label=types.LABEL_REPEATED, type=getattr(types, value))
        _add(feature, name, number, types.LABEL_OPTIONAL, kind, oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=types.LABEL_OPTIONAL, type=types.TYPE_STRING)
    _add(entry, "value", 2, types.LABEL_OPTIONAL, "Feature")
    _add(features, "feature", 1, types.LABEL_REPEATED, "Features.FeatureEntry")
    _add(file.message_type.add(name="Example"), "features", 1, types.LABEL_OPTIONAL, "Features")


def _add(message: Any, name: str, number: int, label: int, kind: str, **options: int) -> None:
    message.field.add(name=name, number=number, label=label, type=_MESSAGE, type_name=f".shardwright.{kind}", **options)


def parse_example(data: bytes, where: str) -> Example:
    """Return the features of a record, each as the list it is, sorted by name.

    Raises
    ------
    InputError
        If the record is no tf.train.Example.
    """
    message, decode_error, unknown = _library()
    try:
        example = message.FromString(data)
    except decode_error as error:
        raise InputError(f"{where} is no tf.train.Example ({error}): it was written for another reader") from error
    if len(unknown(example)):
        raise InputError(f"{where} is no tf.train.Example but another message: SequenceExample is not read")
    features = example.features.feature
    return {name: _values(features[name]) for name in sorted(features)}


def build_example(features: Mapping[str, Values]) -> bytes:
    """Return the bytes of a tf.train.Example; the same features give the same bytes."""
    example = _library()[0]()
    for name, values in features.items():
        feature = example.features.feature[name]
        if isinstance(values, list):
            feature.bytes_list.value.extend(values)
        elif values.dtype == np.int64:
            feature.int64_list.value.extend(values.tolist())
        else:
            feature.float_list.value.extend(values.tolist())
    return bytes(example.SerializeToString(deterministic=True))


def _values(feature: Any) -> Values:
    kind = feature.WhichOneof("kind")
    if kind == "int64_list":
        return np.array(feature.int64_list.value, np.int64)
    if kind == "float_list":
        return np.array(feature.float_list.value, np.float32)
    return list(feature.bytes_list.value)


@dataclass
class FeatureStats:
    """What all records together show of one feature.

    Attributes
    ----------
    kind : {"bytes", "int", "float"} or None
        ``None``: it is empty everywhere.
    records : int
        In how many records it is.
    shortest, longest : int
        Lengths of its lists.
    low, high : int
        Least and greatest value of a feature of whole numbers.
    images, text : bool
        Whether all byte strings are image files; whether all are UTF-8.
    """

    kind: Literal["bytes", "int", "float"] | None = None
    records: int = 0
    shortest: int = 2**63 - 1
    longest: int = 0
    low: int = 2**63 - 1
    high: int = -(2**63)
    images: bool = True
    text: bool = True

    def add(self, name: str, values: Values, where: str) -> None:
        """Take the values of one record into account."""
        self.records += 1
        self.shortest, self.longest = min(self.shortest, len(values)), max(self.longest, len(values))
        if not len(values):
            return
        kind = self._look(values)
        if self.kind not in (None, kind):
            raise InputError(f"{where}: feature {name!r} holds {kind} values, in other records {self.kind}")
        self.kind = kind

    def _look(self, values: Values) -> Literal["bytes", "int", "float"]:
        if isinstance(values, list):
            self.images = self.images and all(is_image_start(value[:16]) for value in values)
            self.text = self.text and all(map(_is_text, values))
            return "bytes"
        if values.dtype != np.int64:
            return "float"
        self.low, self.high = min(self.low, int(values.min())), max(self.high, int(values.max()))
        return "int"


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
