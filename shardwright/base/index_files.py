"""Random access to files that were there before: they are indexed where they lie, and never written.

A format that offers this has a function from the path of one file to `Found`:
which fields its samples have, where in the file their values lie, and the
numbers among them. It is named in the table of formats. The rest is here and
the same for all formats: which files there are, hashes, index and manifest.
What is made is an ordinary split, for every reader, loader and command.

The files may come from anywhere. Whatever is wrong with one is an error of this
library; nothing in it is run or unpickled.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from shardwright.base.arguments import check_split
from shardwright.base.errors import InputError, ShardwrightError
from shardwright.base.fields import Field, check_fields
from shardwright.base.find_files import find_files
from shardwright.base.formats import Format
from shardwright.base.images.probe import probe
from shardwright.base.progress import Progress
from shardwright.base.split.index import Ranges, build_records
from shardwright.base.split.manifest import Manifest, Shard
from shardwright.base.split.part import Part
from shardwright.base.split.paths import SplitPaths
from shardwright.base.split.publish import add_counts, check_new, publish
from shardwright.base.storage.atomic import StoredFile
from shardwright.base.storage.hashes import hash_file
from shardwright.base.values.found import each_value, kind_of_values
from shardwright.base.writing.output import split_lock

__all__ = ["Found", "index_files"]

_MEND = "choose another split= or metadata_dir=, or delete it and its .index.npy to index the files anew"
UNREADABLE = "unreadable"  # stands for the mode of an image that is none


@dataclass(frozen=True, slots=True)
class Found:
    """What a format finds in one file, or in a few that belong together.

    Parameters
    ----------
    count : int
        Samples.
    fields : tuple of Field
    ranges : mapping of str to Ranges
        Of every field that is not scalar, where its values lie.
    scalars : mapping of str to ndarray
        Of every scalar field its values, shape (count,).
    files : tuple of Path
        The files that hold these samples; all that belong together, in one order.
    left_out : mapping of str to int
        What is not read in place: reason to the number of values.
    """

    count: int
    fields: tuple[Field, ...]
    ranges: Mapping[str, Ranges]
    scalars: Mapping[str, NDArray[Any]]
    files: tuple[Path, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def index_files(
    path: str | Path,
    metadata_dir: str | Path | None = None,
    split: str = "train",
    format: str | None = None,  # noqa: A002 - the word that users know from the command line
    *,
    progress: bool | None = False,
) -> Manifest:
    """Make files that exist already a split, without writing or moving them.

    Webdataset tar files, Hugging Face's Parquet (uncompressed) and Arrow files,
    ``.npy`` arrays and contiguous HDF5 datasets. Index and manifest go to a
    folder ``metadata`` beside the files, which is then opened like a converted
    dataset: ``open_reader(folder)``.

    Parameters
    ----------
    path : path
        A file, a folder of files, or a pattern such as ``"data/train-*.tar"``. In
        a folder, files that are called after the split are preferred.
    metadata_dir : path, optional
        Write the folder ``metadata`` here instead. Then readers must be told where the
        files are: ``open_reader(metadata_dir, data_path=folder)``.
    split : str
    format : str, optional
        By default told by the suffix of the files.
    progress : bool, optional
        Progress bar; ``None``: only on a terminal.

    Returns
    -------
    Manifest
        ``ignored`` says what was left out: columns that cannot be read in place, ...

    Raises
    ------
    InputError
        If there are no such files, or they cannot be read in place: they are
        compressed, damaged, or differ; the message says whether to convert them.
    UnsafeDataError
        If a file asks for something dangerous, such as to read another one.
    ConfigError
        If an argument is wrong.
    OutputExistsError
        If the split is there already.

    Examples
    --------
    >>> index_files("coco/train-*.tar", split="train")  # doctest: +SKIP
    >>> TarReader("coco")[7]  # doctest: +SKIP
    """
    record, files, ignored = find_files(Path(path).expanduser(), check_split(split), format)
    folder = files[0].parent
    root = folder if metadata_dir is None else Path(metadata_dir).expanduser().absolute()
    paths = SplitPaths(root, split, folder)
    check_new(paths, _MEND)
    states = {file: _state(file) for file in files}
    shards = _find_all(record, files)
    fields = _common_fields(shards)
    with Progress(sum(shard.count for shard in shards), progress) as bar:
        indexed = [_index_shard(shard, fields, bar) for shard in shards]
    for file, state in states.items():
        if _state(file) != state:
            raise InputError(f"{file} was changed while it was indexed; let nobody write to it, then index it again")
    ignored = add_counts([ignored, *(shard.left_out for shard in shards), _unlike(shards, fields)])
    with split_lock(paths, 0, 1):
        check_new(paths, _MEND)
        return publish(
            paths,
            [part for part, _ in indexed],
            [records for _, records in indexed],
            format_name=record.name,
            fields=fields,
            sample_type="tuple" if [f.name for f in fields] in (["image"], ["image", "label"]) else "dict",
            plan={"adopted": True, "num_samples": sum(shard.count for shard in shards)},
            ignored=ignored,
            data_dir=".",
        )


def _state(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path and the permissions") from error
    return status.st_size, status.st_mtime_ns, status.st_ino


def _find_all(record: Format, files: Sequence[Path]) -> list[Found]:
    shards: list[Found] = []
    used: set[Path] = set()
    for file in files:
        if file not in used:
            shards.append(_find(record, file))
            used.update(shards[-1].files)
    filled = [shard for shard in shards if shard.count]
    if not filled:
        raise InputError(f"{files[0]} holds no samples; there is nothing to index")
    plain = {f.name for shard in filled for f in shard.fields if f.kind == "bytes"}
    return [_with_bytes(shard, plain) for shard in filled]


def _with_bytes(found: Found, plain: set[str]) -> Found:
    """Return what was found with some fields as plain bytes: those that are nothing else in another file."""
    fields = [Field(f.name, "bytes") if f.name in plain and not f.is_fixed else f for f in found.fields]
    return replace(found, fields=tuple(fields))


def _find(record: Format, path: Path) -> Found:
    try:
        found: Found = record.load_adopter()(path)
        for name, values in found.scalars.items():
            if len(values) != found.count:
                raise InputError(f"{path}: field {name!r} has {len(values)} values of {found.count}")
        fields = (f if f.is_scalar else kind_of_values(f, found.ranges[f.name]) for f in found.fields)
        return replace(found, fields=tuple(fields))
    except ShardwrightError:
        raise
    except Exception as error:  # a format's library may raise anything about a file that is not what it should be
        raise InputError(
            f"{path} is damaged, or no {record.name} file ({type(error).__name__}: {error}); copy or make it again"
        ) from error


def _common_fields(shards: Sequence[Found]) -> tuple[Field, ...]:
    """Return the fields that all files have alike, image and label first."""
    first = shards[0]
    fields = [f for f in first.fields if all(f in shard.fields for shard in shards)]
    if not any(not f.is_scalar for f in fields):
        other = next((shard for shard in shards if shard.fields != first.fields), first)
        raise InputError(
            f"{first.files[0]} has the fields {_named(first)}, {other.files[0]} has {_named(other)}: nothing to read "
            "in both; index files that are alike"
        )
    fields.sort(key=lambda f: (f.name != "image", f.name != "label"))
    check_fields(tuple(fields))
    return tuple(fields)


def _named(found: Found) -> str:
    return ", ".join(f"{f.name} ({f.kind})" for f in found.fields) or "none"


def _index_shard(found: Found, fields: tuple[Field, ...], bar: Progress) -> tuple[Part, NDArray[Any]]:
    records, hashes = build_records(fields, found.ranges, found.scalars, found.count)
    modes = {f.name: _modes(f, found) for f in fields if f.is_image}
    files = tuple(StoredFile(p.name, p.stat().st_size, hashes.get(p) or hash_file(p)) for p in found.files)
    places = {f.name: found.files.index(found.ranges[f.name].path) for f in fields if not f.is_scalar}
    bar.add(found.count, sum(file.size for file in files))
    return Part(Shard(found.count, files), places, modes, skipped=[]), records


def _modes(f: Field, found: Found) -> dict[str, int]:
    if f.is_fixed:
        return {f.mode or "": found.count}
    modes: Counter[str] = Counter()
    for data in each_value(found.ranges[f.name]):
        try:
            modes[probe(data).mode] += 1
        except InputError:
            modes[UNREADABLE] += 1  # told when it is read: one bad image need not keep out all others
    return modes


def _unlike(shards: Sequence[Found], fields: tuple[Field, ...]) -> Counter[str]:
    """Return the fields that are not in all files, or not alike, with how many values they have."""
    left: Counter[str] = Counter()
    for shard in shards:
        for f in shard.fields:
            if f not in fields:
                left[f"field {f.name}: not alike in all files"] += shard.count
    return left
