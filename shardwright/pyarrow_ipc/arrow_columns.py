"""Batches as Arrow tables with the schema that Hugging Face's `datasets` recognises.

Images are ``struct<bytes: binary, path: string>`` and class labels nullable
``int64``, in exactly these types, named in the schema metadata ``huggingface``;
anything else loads as plain bytes and numbers there.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shardwright.base.errors import LimitError
from shardwright.base.fields import Field
from shardwright.base.storage.atomic import WriteFile
from shardwright.base.values.columns import Batch, ByteColumn, Column
from shardwright.base.values.pack import as_npy
from shardwright.pyarrow_ipc.groups import Groups

__all__ = ["ArrowShard", "byte_values", "open_shard", "schema_of"]

# The largest buffer so far of each field: fresh memory costs more than the copy into it.
Space = dict[str, np.ndarray]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TYPES = {
    "array": pa.binary(),
    "bytes": pa.binary(),
    "class_label": pa.int64(),
    "float": pa.float64(),
    "image": IMAGE,
    "int": pa.int64(),
    "json": pa.string(),
    "mask": IMAGE,
    "text": pa.string(),
}


@dataclass(slots=True)
class ArrowShard:
    """An open shard, to which samples are written in record batches of at most 16 MiB."""

    writer: Any
    fields: tuple[Field, ...]
    schema: pa.Schema
    groups: Groups = field(default_factory=Groups)
    space: Space = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Take samples, and write the record batches that they fill."""
        self._write(self.groups.add(batch))

    def finish(self) -> None:
        """Write what is left."""
        self._write(self.groups.rest())

    def _write(self, groups: Iterable[Batch]) -> None:
        for group in groups:
            self.writer.write_batch(_record_batch(group, self.fields, self.schema, self.space))


@contextmanager
def open_shard(
    path: Path, fields: tuple[Field, ...], open_writer: Callable[[pa.PythonFile, pa.Schema], Any]
) -> Iterator[ArrowShard]:
    """Open a file for samples; `open_writer` gives what writes its record batches."""
    schema = schema_of(fields)
    with WriteFile(path) as file, pa.PythonFile(file) as sink, open_writer(sink, schema) as writer:
        shard = ArrowShard(writer, fields, schema)
        yield shard
        shard.finish()


def schema_of(fields: Iterable[Field]) -> pa.Schema:
    """Return the Arrow schema of `fields`, with Hugging Face's features in its metadata."""
    fields = list(fields)
    features = {f.name: _feature(f) for f in fields}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(f.name, TYPES[f.kind]) for f in fields], metadata=metadata)


def _feature(field: Field) -> dict[str, Any]:
    if field.is_image:
        return {"_type": "Image"}
    if field.kind == "class_label" and field.names:
        return {"names": list(field.names), "_type": "ClassLabel"}
    return {"dtype": {"double": "float64"}.get(str(TYPES[field.kind]), str(TYPES[field.kind])), "_type": "Value"}


def _record_batch(batch: Batch, fields: Iterable[Field], schema: pa.Schema, space: Space) -> pa.RecordBatch:
    """Return a batch as Arrow arrays, in memory that is valid until `space` is used again."""
    return pa.RecordBatch.from_arrays([_array(f, batch[f.name], batch.indices, space) for f in fields], schema=schema)


def _array(field: Field, column: Column, indices: Any, space: Space) -> pa.Array:
    if field.is_scalar:
        return pa.array(column)
    column = as_npy(field, column)
    if not field.is_image:
        return _bytes(TYPES[field.kind], column, field.name, space)
    names = [f"{i:09d}.{extension}" for i, (extension, _) in zip(indices.tolist(), column.tags, strict=True)]
    parts = [_bytes(pa.binary(), column, field.name, space), pa.array(names, pa.string())]
    return pa.StructArray.from_arrays(parts, fields=list(IMAGE))


def _bytes(kind: pa.DataType, column: ByteColumn, name: str, space: Space) -> pa.Array:
    if column.nbytes >= 2**31:
        raise LimitError(f"a value of {column.nbytes} bytes does not fit Arrow's {kind} type (2 GiB); use tar")
    data, offsets = column.joined(space.get(name))
    space[name] = data if data.base is None else data.base
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(column), buffers)


def byte_values(column: pa.Array) -> tuple[np.ndarray, pa.Buffer]:
    """Return the offsets (int64, N + 1) and the data buffer of a column of byte values."""
    if pa.types.is_struct(column.type):
        column = column.field("bytes")
    _, offsets, data = column.buffers()
    dtype = np.dtype(np.int64 if str(column.type).startswith("large_") else np.int32)
    cuts = np.frombuffer(offsets, dtype, len(column) + 1, column.offset * dtype.itemsize).astype(np.int64)
    return cuts, data if data is not None else pa.py_buffer(b"")
