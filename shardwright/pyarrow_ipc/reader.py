"""Read splits of Arrow IPC files."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shardwright.base.fields import Field
from shardwright.base.reader import Reader
from shardwright.base.storage.ranges import Ranges

__all__ = ["IpcReader"]


class IpcReader(Reader):
    """A split of Arrow IPC files; see `Reader`.

    Examples
    --------
    >>> reader = IpcReader("out")  # doctest: +SKIP
    >>> image, label = reader[0]  # doctest: +SKIP
    """

    format_name = "pyarrow_ipc"

    @staticmethod
    def _read_scalars(path: Path, fields: tuple[Field, ...]) -> Mapping[str, np.ndarray]:
        with _opened(path) as (reader, _):
            found: dict[str, list[np.ndarray]] = {f.name: [np.empty(0, f.dtype)] for f in fields if f.is_scalar}
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)  # one after the other: a compressed one takes memory
                for name, parts in found.items():
                    parts.append(batch.column(name).to_numpy(zero_copy_only=False))
            return {name: np.concatenate(parts) for name, parts in found.items()}

    @staticmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        from shardwright.pyarrow_ipc.arrow_columns import byte_values  # only converting and verifying need it

        stored = [f.name for f in fields if not f.is_scalar]
        found: dict[str, list[np.ndarray]] = {name: [] for name in stored}
        with _opened(path) as (reader, start):
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                for name in stored:
                    # A buffer of a mapped file lies where it lies in the file.
                    cuts, data = byte_values(batch.column(name))
                    offsets = cuts[:-1] + (data.address - start if data.size else 0)
                    found[name].append(np.stack([offsets, np.diff(cuts)]))
        return {name: Ranges.joined(path, parts) for name, parts in found.items()}


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, int]]:
    """Open a file, none of whose batches takes more memory than it may, and say where it begins in memory."""
    import pyarrow as pa  # only converting and verifying need it

    from shardwright.pyarrow_ipc.arrow_inflate import check_inflated

    with pa.memory_map(os.fsencode(path)) as file, pa.ipc.open_file(file) as reader:
        file.seek(0)
        whole = file.read_buffer()
        check_inflated(path, whole)
        yield reader, whole.address
