"""Write splits of tar files, in webdataset's layout."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shardwright.base.converter import ConverterFlexibleSize
from shardwright.base.errors import LimitError
from shardwright.base.fields import Field
from shardwright.base.split.manifest import Shard
from shardwright.base.storage.atomic import WriteFile
from shardwright.base.values.columns import Batch
from shardwright.base.values.pack import as_npy
from shardwright.tar.reader import BLOCK, members

__all__ = ["TarConverter"]

EXTENSIONS = {
    "array": "npy",
    "bytes": "bin",
    "class_label": "json",
    "float": "json",
    "int": "json",
    "json": "json",
    "text": "txt",
}
# One header for all members; name, size and checksum are filled in.
_HEADER = tarfile.TarInfo("")
_HEADER.mode = 0o444
_TEMPLATE = _HEADER.tobuf(tarfile.USTAR_FORMAT)
_SUM = sum(_TEMPLATE[:124]) + sum(_TEMPLATE[136:148]) + sum(_TEMPLATE[156:]) + 8 * ord(" ")


class TarConverter(ConverterFlexibleSize):
    """Convert to tar files that webdataset, wids and DALI open; see `Converter`.

    Sample 7 becomes ``000000007.jpg`` (the extension tells the content),
    ``000000007.cls`` and, for further fields, ``000000007.<field>.<extension>``.
    ``metadata/<split>.wids.json`` and ``metadata/<shard>.idx`` are for wids and DALI.

    Examples
    --------
    >>> TarConverter("images", "out", images_per_file=1000).convert()  # doctest: +SKIP
    """

    format_name = "tar"

    @contextmanager
    def _open_shard(self, path: Path, fields: tuple[Field, ...]) -> Iterator[tuple[WriteFile, tuple[Field, ...]]]:
        with WriteFile(path) as file:
            yield file, fields
            file.write(bytes(2 * BLOCK + -(file.tell() + 2 * BLOCK) % tarfile.RECORDSIZE))

    def _write_data_to_disk(self, shard: tuple[WriteFile, tuple[Field, ...]], batch: Batch) -> None:
        file, fields = shard
        columns = [(f, _contents(f, batch[f.name])) for f in fields]
        parts: list[Any] = []
        for row, index in enumerate(batch.indices.tolist()):
            for field, contents in columns:
                extension, content = contents[row]
                size = len(content)
                parts += (_header(f"{index:09d}.{_suffix(field, extension)}", size), content, bytes(-size % BLOCK))
        file.write_all(parts)

    @classmethod
    def _shard_extras(cls, path: Path, fields: tuple[Field, ...]) -> dict[str, bytes]:
        """Return DALI's index: per sample, extension, offset, size and name of each member."""
        samples: dict[str, list[str]] = {}
        for name, offset, length in members(path):
            key, _, suffix = name.partition(".")
            samples.setdefault(key, []).append(f"{suffix} {offset} {length} {name}")
        lines = [f"v1.2 {len(samples)}", *map(" ".join, samples.values())]
        return {f"{path.stem}.idx": ("\n".join(lines) + "\n").encode()}

    @classmethod
    def _split_extras(cls, split: str, shards: Sequence[Shard]) -> dict[str, bytes]:
        """Return the list of shards that wids opens."""
        files = [(s.files[0], s.num_samples) for s in shards]
        listed = [{"url": f"../data/{f.name}", "nsamples": n, "filesize": f.size} for f, n in files]
        index = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": split, "shardlist": listed}
        return {f"{split}.wids.json": json.dumps(index, indent=1).encode() + b"\n"}


def _suffix(field: Field, extension: str) -> str:
    if field.name == "image" and field.is_image:
        return extension
    if field.name == "label" and field.kind in ("class_label", "int"):
        return "cls"
    return f"{field.name}.{extension or EXTENSIONS[field.kind]}"


def _contents(field: Field, column: Any) -> list[tuple[str, Any]]:
    """Return extension and bytes of every value."""
    if field.is_scalar:
        return [("", json.dumps(value).encode()) for value in column.tolist()]
    packed = as_npy(field, column)
    extensions = [extension for extension, _ in packed.tags] or [""] * len(packed)
    return list(zip(extensions, packed.values, strict=True))


def _header(name: str, size: int) -> bytes:
    if size >= 8**11:
        raise LimitError(f"tar member {name} has {size} bytes; USTAR ends at 8 GiB, use parquet or pyarrow_ipc")
    fixed_name, octal = name.encode("ascii").ljust(100, b"\0"), b"%011o\0" % size
    checksum = b"%06o\0 " % (_SUM + sum(fixed_name) + sum(octal))
    return fixed_name + _TEMPLATE[100:124] + octal + _TEMPLATE[136:148] + checksum + _TEMPLATE[156:]
