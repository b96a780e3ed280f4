"""Converter: what all converters share, whatever their values and their format."""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from shardwright.base.arguments import check_choice, check_quality, check_seconds, check_split, check_whole
from shardwright.base.errors import ConfigError, InputError, StorageError, text_of
from shardwright.base.fields import EXIF, Field, check_fields
from shardwright.base.open_source import open_source, split_folders
from shardwright.base.relabel import named_as, with_classes
from shardwright.base.source import Source
from shardwright.base.split.classes import label_field
from shardwright.base.split.manifest import Manifest, Shard
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import storage_errors, write_file
from shardwright.base.values.columns import Batch, Column
from shardwright.base.values.infer import infer_field, with_palette
from shardwright.base.values.mask_values import image_size
from shardwright.base.values.pack import pack
from shardwright.base.writing.class_choice import choose_classes
from shardwright.base.writing.finish import begun_by, finished, publish_when_complete
from shardwright.base.writing.listing import is_listed, open_unless_listed, write_listing
from shardwright.base.writing.lock import split_lock
from shardwright.base.writing.output import check_output, make_folders
from shardwright.base.writing.pipeline import Failure, worker_errors
from shardwright.base.writing.plan import Plan, agree_on_plan, listed_source
from shardwright.base.writing.ranks import rank_and_world
from shardwright.base.writing.replace import finish_swap
from shardwright.base.writing.shards import ShardWriter, write_shards

__all__ = ["Converter"]


class Converter(ABC):
    """Turns an input into the shards of one split.

    Parameters
    ----------
    input_data : path, Dataset or Source
        A folder of class folders, an archive of one, any map-style
        ``torch.utils.data.Dataset``, or the path or reader of a converted split.
    output_path : path
        Folder of the converted splits; made if missing.
    images_per_file : int
        Samples per shard.
    batch_size : int
        Samples that a worker packs at a time (at most); bounds memory, changes no byte.
    num_workers : int
        Workers; 0: none. Threads where the input is files of images, or processes of which each
        writes whole shards if there are many; else processes that read. Changes no byte.
    split : str, optional
        Name of the split: ``train``, ``validation``, ``test``, ... Of a folder of files of other
        programs, those called after it are converted (``train-0.tar``), if there are any. ``None``: the
        folders in the input are splits (``train``, ``val``, ...), and each is converted as one.
    labels : path, optional
        Of images in a folder or archive: the file of their labels, as csv, tsv or jsonl (with columns that are told by
        their names, or said: ``"train.csv:id:breed"``), COCO's ``.json``, or ImageNet's development kit.
    classes : sequence of str, or str, optional
        Names of all classes, in the order of their numbers; or the split of the same output whose
        classes are meant: ``classes="train"``. By default those of the input, sorted, unless the output has
        a split with these classes and more: then its numbers are taken. Labels of the input keep their names and
        follow them; a class of the input that is not in the list is an error.
    fields : sequence of Field, optional
        How to store fields that should not be inferred from the first sample. Names of a class label are
        taken as by `classes`.
    encoding : {"png", "jpeg", "webp"}
        For images that come as pixels, not as files. Masks are always PNG.
    quality : int, optional
        1 to 100, of ``"jpeg"`` and ``"webp"``.
    exif : {"ignore", "apply"}, optional
        Whether images are turned as their EXIF orientation says. By default as the input says, if it is
        a converted split, else ``"ignore"``, as torchvision does. Raw pixels and images that are made
        smaller are turned when they are stored; files keep their bytes, and readers turn them.
    on_error : {"raise", "skip"}
        What to do about a sample that cannot be converted. Skipped ones are
        listed in ``metadata/<split>.skipped.jsonl`` and counted in the manifest.
    max_skipped : int, optional
        More skipped samples than this are an error. Each rank counts those that it meets in
        one call: all ranks together, or a conversion that goes on, may skip more.
    overwrite : bool
        Replace a converted split: the new one is written aside, then swapped in.
    dist : bool
        Share the work among the processes (ranks) of torchrun, srun, mpirun or ``torch.distributed``.
    rank, num_replicas : int, optional
        Instead of `dist`: the number of this process, from 0, and of all processes.
    wait : bool
        Whether `convert` waits until all ranks are done.
    wait_timeout : float
        Seconds without a new shard, or without a sign of rank 0, after which a waiting
        rank gives up.
    progress : bool, optional
        Progress bar; by default only on a terminal.

    Raises
    ------
    ConfigError, InputError, OutputExistsError
        If an argument is wrong, before anything is written.
    """

    format_name: ClassVar[str]
    fixed_size: ClassVar[bool]
    fields: tuple[Field, ...] = ()  # known once `convert` has begun
    _resize = True  # an image of another size than its field's

    def __init__(
        self,
        input_data: Any,
        output_path: str | Path,
        images_per_file: int = 1000,
        batch_size: int = 100,
        num_workers: int = 4,
        *,
        split: str | None = "train",
        labels: str | Path | None = None,
        classes: Sequence[str] | str | None = None,
        fields: Sequence[Field] = (),
        encoding: Literal["png", "jpeg", "webp"] = "png",
        quality: int | None = None,
        exif: Literal["ignore", "apply"] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        max_skipped: int | None = None,
        overwrite: bool = False,
        dist: bool = False,
        rank: int | None = None,
        num_replicas: int | None = None,
        wait: bool = True,
        wait_timeout: float = 3600.0,
        progress: bool | None = None,
    ) -> None:
        self.images_per_file = check_whole("images_per_file", images_per_file, 1)
        self.batch_size = check_whole("batch_size", batch_size, 1)
        self.num_workers = check_whole("num_workers", num_workers, 0)
        if split is not None:
            check_split(split)
        self.encoding = check_choice("encoding", encoding, ("png", "jpeg", "webp"))
        self.quality = check_quality(quality, self.encoding)
        self.exif = None if exif is None else check_choice("exif", exif, EXIF)
        self.on_error = check_choice("on_error", on_error, ("raise", "skip"))
        self.max_skipped = None if max_skipped is None else check_whole("max_skipped", max_skipped, 0)
        self.overwrite, self.wait, self.progress = overwrite, wait, progress
        self.wait_timeout = check_seconds("wait_timeout", wait_timeout)
        self.rank, self.world = rank_and_world(dist, rank, num_replicas)
        self.given_fields = {f.name: f for f in fields}
        output = Path(output_path).expanduser().absolute()
        check_output(output, input_data)
        self._given_classes, self._labels = classes, labels
        self.manifests: dict[str, Manifest | None] = {}
        self._whole: Source | None = None
        if split is None:
            if labels is not None:
                raise ConfigError("labels= names the labels of one split: say which with split=")
            self._whole = open_source(input_data, splits=True)
            if not split_folders(self._whole):
                raise ConfigError("split=None: the folders in input_data are no splits; name the split that it is")
            split = "train"
        source = None
        if self._whole is None:
            source = open_unless_listed(input_data, split, labels) if self.rank else None
            source = source if self.rank else open_source(input_data, split, labels=labels)
        self._begin(input_data, source, SplitPaths(output, split))

    def _begin(self, input_data: Any, source: Source | None, paths: SplitPaths) -> None:
        """Take one split's input; its source is not known yet where rank 0 lists it."""
        if source is not None and not len(source):
            raise InputError("input_data has no samples; there is nothing to convert")
        self.paths, self._input = paths, input_data
        self._classes: list[str] | None = None
        self._source = None if source is None else self._with_classes(source)

    def parts(self) -> Iterator["Converter"]:
        """Yield this converter, or, with ``split=None``, one for each folder, with the classes of all."""
        if self._whole is None:
            yield self
            return
        sources = {name: self._whole.within(name) for name in split_folders(self._whole)}
        labels = {name: label_field(list(source.fields.values())) for name, source in sources.items()}
        classes = {name: label.names for name, label in labels.items() if label is not None and label.names}
        every = tuple(sorted({name for names in classes.values() for name in names}))
        for name, source in sources.items():
            part = copy(self)
            part._whole = None
            if self._given_classes is None and classes.get(name, every) != every:
                part._given_classes = every
            where = os.path.join(self._input, name) if os.path.isdir(self._input) else self._input
            part._begin(where, source, SplitPaths(self.paths.root, check_split(name)))
            yield part

    @property
    def source(self) -> Source:
        """What is converted. Rank 0 alone lists the files of a folder or archive; the others wait for its list."""
        if self._whole is not None:
            return self._whole
        if self._source is None:
            place = self.paths.staging if self.overwrite else self.paths
            self._source = self._with_classes(listed_source(place, self._input, self.wait_timeout, self._labels))
        return self._source

    def _with_classes(self, source: Source) -> Source:
        """Return the source with the numbers that its classes have in this output."""
        for field in self.given_fields.values():
            if field.kind == "class_label" and field.names:
                source = named_as(source, field.name, field.names)
        with storage_errors(self.paths.root):
            chosen = choose_classes(self.paths, source.fields.values(), self._given_classes, aside=self.overwrite)
        if chosen is None:
            return source
        self._classes = list(chosen)
        return with_classes(source, chosen)

    def convert(self) -> Manifest | None:
        """Write this rank's shards and publish the split when all are there.

        A conversion that was killed goes on where it stopped when the same call
        is made again, with any number of workers or ranks. A split that is
        already complete is left as it is.

        Returns
        -------
        Manifest
            Of the published split; ``None`` if other ranks are still at work
            and ``wait`` is false, and with ``split=None``: then `manifests` has those of all splits.

        Raises
        ------
        InputError
            If a sample cannot be converted; the message names it.
        PlanMismatchError
            If the split was begun with other input or options.
        LockedError
            If another process writes the same split.
        StorageError
            If the disk fails or is full; run again when there is room.
        """
        if self._whole is not None:
            self.manifests = {part.paths.split: part.convert() for part in self.parts()}
            return None
        self.manifests = {self.paths.split: self._convert()}
        return self.manifests[self.paths.split]

    def _convert(self) -> Manifest | None:
        """Convert one split."""
        # A split that is there is replaced, confirmed or refused; only the first of these reads the input.
        if self.on_error == "raise" and self.rank == 0 and (self.overwrite or not self.paths.manifest.exists()):
            self.source.check()
        fields = self._fields()
        plan = Plan.of(self.source, self.format_name, self.paths.split, fields, self._options())
        with worker_errors(), storage_errors(self.paths.root), split_lock(self.paths, self.rank, self.world):
            target = self._target(plan)
            if not finished(target, plan, moving=target != self.paths):
                self._write(target, plan)
            return publish_when_complete(self.paths, target, plan, self.world, self.wait, self.wait_timeout)

    def _write(self, target: SplitPaths, plan: Plan) -> None:
        """Agree with the other ranks on the plan, and write this rank's shards."""
        make_folders(target)
        if self.rank == 0 and self.world > 1:
            self._publish_listing(target, plan)
        agree_on_plan(target, plan, self.rank, self.wait_timeout)
        if target != self.paths and self.world > 1:
            target.rank(self.rank).touch()
        try:
            write_shards(self._writer(target, plan), self.rank, self.world)
        except StorageError:
            # A late rank, in a resume: the others have found all shards, published and cleaned up.
            if not target.manifest.exists():
                raise

    def _publish_listing(self, target: SplitPaths, plan: Plan) -> None:
        """Hand the list of input files to the other ranks, unless the plan there is another one."""
        if is_listed(self._input, self.paths.split) and Plan.read(target.plan) in (None, plan):
            write_file(target.listing, partial(write_listing, self.source))

    def _target(self, plan: Plan) -> SplitPaths:
        """Return where to write: aside, if a split is to be replaced."""
        if not self.overwrite:
            finish_swap(self.paths, self.wait_timeout)
            return self.paths
        staging = self.paths.staging
        if self.rank == 0 and staging.root.exists() and not begun_by(staging, plan):
            shutil.rmtree(staging.root)
        return staging

    def _writer(self, target: SplitPaths, plan: Plan) -> ShardWriter:
        return ShardWriter(
            paths=target,
            plan=plan,
            source=self.source,
            collate=self._custom_collate_fn_with(plan.fields),
            write=self._write_shard,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            # A hook of somebody else's may be no friend of threads.
            threads=self.source.threads and type(self)._custom_collate_fn is Converter._custom_collate_fn,
            max_skipped=self.max_skipped,
            progress=self.progress,
        )

    def _custom_collate_fn_with(self, fields: tuple[Field, ...]) -> Any:
        """Return the hook, bound to a converter that knows the fields and carries no input."""
        bound = copy(self)
        bound.fields, bound._source, bound._input = fields, None, None
        return bound._custom_collate_fn

    def _options(self) -> dict[str, Any]:
        """Return what decides about the bytes on disk; a subclass adds its own with ``super()._options() | {...}``.

        Returns
        -------
        dict of str to JSON value
            Part of the plan: a conversion goes on only with the same ones.
        """
        return {
            "images_per_file": self.images_per_file,
            "encoding": self.encoding,
            "quality": self.quality,
            "on_error": self.on_error,
            **({} if self._classes is None else {"classes": self._classes}),
        }

    def _fields(self) -> tuple[Field, ...]:
        """Return how each field is stored: as given, as the source knows, or as the first good sample shows."""
        for index in range(len(self.source)):
            try:
                fields = self._fields_of(self.source[index])
            except ConfigError:
                raise
            except (Exception, SystemExit) as error:  # a dataset may raise anything
                if self.on_error == "skip":
                    continue
                raise Failure(index, text_of(error), cause=error).error(self.source.name(index)) from error
            check_fields(fields)
            return fields
        raise InputError("no sample of input_data can be read; nothing was written")

    def _fields_of(self, sample: dict[str, Any]) -> tuple[Field, ...]:
        known = {**self.source.fields, **self.given_fields}
        unknown = self.given_fields.keys() - sample.keys()
        if unknown:
            raise ConfigError(f"fields= names {sorted(unknown)}, the samples have {sorted(sample)}")
        size = image_size(sample)
        found = {n: self._turned(known.get(n) or infer_field(n, value, size)) for n, value in sample.items()}
        return tuple(
            self._stored_field(with_palette(field, sample[name]), sample[name]) for name, field in found.items()
        )

    def _turned(self, field: Field) -> Field:
        return field if self.exif is None or field.kind != "image" else replace(field, exif=self.exif)

    def _custom_collate_fn(self, batch: list[dict[str, Any]]) -> Mapping[str, Column]:
        """Pack samples into one column per field; runs in the workers.

        Parameters
        ----------
        batch : list of dict
            Raw values by field name, as the source gave them.

        Returns
        -------
        mapping of str to ndarray or ByteColumn
        """
        fields, batch = self.fields, self._prepared(batch)
        for sample in batch:
            if sample.keys() != {f.name for f in fields}:
                names = sorted(f.name for f in fields)
                raise InputError(f"the sample has the fields {sorted(sample)}, others have {names}")
        how = (self.encoding, self.quality)
        return {f.name: pack(f, [s[f.name] for s in batch], *how, resize=self._resize) for f in fields}

    def _prepared(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the samples as they are to be packed."""
        return batch

    @abstractmethod
    def _stored_field(self, field: Field, value: Any) -> Field:
        """Return the field as this kind of format stores it, before anything is written.

        Parameters
        ----------
        field : Field
            As it was given, as the source knows it, or as its first value shows.
        value
            That value, raw.

        Raises
        ------
        ConfigError
            If the format cannot store such a field.
        """

    @abstractmethod
    def _write_shard(self, path: Path, batches: Iterator[Batch], num_samples: int, fields: tuple[Field, ...]) -> None:
        """Write the samples of all `batches` to one shard."""

    @classmethod
    def _shard_extras(cls, path: Path, fields: tuple[Field, ...]) -> dict[str, bytes]:
        """Return files for other tools that belong to one shard, as what other software reads beside it.

        Parameters
        ----------
        path : Path
            The shard, which is written.
        fields : tuple of Field

        Returns
        -------
        dict of str to bytes
            Name under ``metadata/`` to content.
        """
        return {}

    @classmethod
    def _split_extras(cls, split: str, shards: Sequence[Shard]) -> dict[str, bytes]:
        """Return files for other tools that belong to the whole split.

        Parameters
        ----------
        split : str
        shards : sequence of Shard
            All of them, finished, in their order.

        Returns
        -------
        dict of str to bytes
            Name under ``metadata/`` to content.
        """
        return {}
