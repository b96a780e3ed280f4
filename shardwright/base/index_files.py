"""Random access to files that were there before: they are indexed where they lie, and never written.

The source that reads such files says where their values lie (`Source.places`). The
rest is here and the same for all: hashes, index and manifest. What is made is an
ordinary split, for every reader, loader and command.

The files may come from anywhere. Whatever is wrong with one is an error of this
library; nothing in it is run or unpickled.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from shardwright.base.arguments import check_choice, check_split
from shardwright.base.errors import InputError
from shardwright.base.fields import EXIF, Field, sample_type_of
from shardwright.base.images.probe import probe
from shardwright.base.open_source import open_files
from shardwright.base.progress import Progress
from shardwright.base.relabel import with_classes
from shardwright.base.source import Places, Source
from shardwright.base.split.index import build_records
from shardwright.base.split.manifest import Manifest, Shard
from shardwright.base.split.part import Part
from shardwright.base.split.paths import SplitPaths
from shardwright.base.split.publish import add_counts, check_new, publish
from shardwright.base.storage.atomic import StoredFile
from shardwright.base.storage.hashes import hash_file
from shardwright.base.values.infer import each_value
from shardwright.base.writing.class_choice import choose_classes
from shardwright.base.writing.lock import split_lock

__all__ = ["index_files"]

_MEND = "choose another split= or metadata_dir=, or delete it and its .index.npy to index the files anew"
UNREADABLE = "unreadable"  # stands for the mode of an image that is none


def index_files(
    path: str | Path | Source,
    metadata_dir: str | Path | None = None,
    split: str = "train",
    format: str | None = None,  # noqa: A002 - the word that users know from the command line
    *,
    exif: Literal["ignore", "apply"] = "ignore",
    labels: str | Path | None = None,
    classes: Sequence[str] | str | None = None,
    progress: bool | None = False,
) -> Manifest:
    """Make files that exist already a split, without writing or moving them.

    Webdataset tar files, Hugging Face's Parquet (uncompressed) and Arrow files,
    ``.npy``, ``.npz`` and IDX arrays, contiguous HDF5 datasets and TFRecord files. Index
    and manifest go to a folder ``metadata`` beside the files, which is then opened like a converted
    dataset: ``open_reader(folder)``.

    Parameters
    ----------
    path : path or Source
        A file, a folder of files, or a pattern such as ``"data/train-*.tar"``. In
        a folder, files that are called after the split are preferred. A source that knows
        where its samples lie, such as ``ArraySource("planes.npy", "labels.npy")``, is taken too.
    metadata_dir : path, optional
        Write the folder ``metadata`` here instead. Then readers must be told where the
        files are: ``open_reader(metadata_dir, data_path=folder)``.
    split : str
    format : str, optional
        By default told by the suffix of the files.
    exif : {"ignore", "apply"}
        Whether readers turn image files as their EXIF orientation says, if they are not told otherwise.
    labels : path, optional
        Of the images in an archive: the file of their labels; as for converters.
    classes : sequence of str, or str, optional
        Names of all classes, in the order of their numbers, or the split of the same folder whose classes
        are meant; as for converters.
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
    check_choice("exif", exif, EXIF)
    source = path if isinstance(path, Source) else open_files(path, check_split(split), format, labels=labels)
    shards = source.places()
    files = [file for shard in shards for file in shard.files]
    folder = files[0].parent
    root = folder if metadata_dir is None else Path(metadata_dir).expanduser().absolute()
    paths = SplitPaths(root, split, folder)
    check_new(paths, _MEND)
    chosen = choose_classes(paths, shards[0].fields, classes, aside=False)
    if chosen is not None:
        source = with_classes(source, chosen)
        shards = source.places()
    fields = tuple(_turned(f, exif) for f in shards[0].fields)
    with Progress(sum(shard.count for shard in shards), progress) as bar:
        indexed = [_index_shard(shard, fields, bar) for shard in shards]
    if changed := source.changed():
        raise InputError(f"{changed} was changed while it was indexed; let nobody write to it, then index it again")
    ignored = add_counts([source.ignored, *(shard.left_out for shard in shards)])
    with split_lock(paths, 0, 1):
        check_new(paths, _MEND)
        return publish(
            paths,
            [part for part, _ in indexed],
            [records for _, records in indexed],
            format_name=source.format_name,
            fields=fields,
            sample_type=sample_type_of(f.name for f in fields),
            plan=_plan(source, sum(shard.count for shard in shards)),
            ignored=ignored,
            data_dir=".",
        )


def _plan(source: Source, count: int) -> dict[str, Any]:
    """Return what the manifest keeps of how the split was made."""
    origin = {"labels_from": source.labels_from} if source.labels_from else {}
    return {"adopted": True, "num_samples": count, **origin}


def _turned(field: Field, exif: Literal["ignore", "apply"]) -> Field:
    return field if field.kind != "image" or field.is_fixed else replace(field, exif=exif)


def _index_shard(found: Places, fields: tuple[Field, ...], bar: Progress) -> tuple[Part, NDArray[Any]]:
    records, hashes = build_records(fields, found.ranges, found.scalars, found.count)
    modes = {f.name: _modes(f, found) for f in fields if f.is_image}
    files = tuple(StoredFile(p.name, p.stat().st_size, hashes.get(p) or hash_file(p)) for p in found.files)
    places = {f.name: found.files.index(found.ranges[f.name].path) for f in fields if not f.is_scalar}
    bar.add(found.count, sum(file.size for file in files))
    return Part(Shard(found.count, files), places, modes, skipped=[]), records


def _modes(f: Field, found: Places) -> dict[str, int]:
    if f.is_fixed:
        return {f.mode or "": found.count}
    modes: Counter[str] = Counter()
    for data in each_value(found.ranges[f.name]):
        try:
            modes[probe(data).mode] += 1
        except InputError:
            modes[UNREADABLE] += 1  # told when it is read: one bad image need not keep out all others
    return modes
