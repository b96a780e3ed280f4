"""A split of finished shards: its index, its further files and its manifest, which comes last."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from shardwright.base.errors import InputError, OutputExistsError
from shardwright.base.fields import Field
from shardwright.base.split.index import index_dtype, npy_header_of
from shardwright.base.split.manifest import Manifest
from shardwright.base.split.part import Part
from shardwright.base.split.paths import DATA_DIR, SplitPaths
from shardwright.base.storage.atomic import StoredFile, write_bytes, write_file, write_files
from shardwright.base.storage.strict_json import canonical_json

__all__ = ["add_counts", "add_modes", "check_new", "publish"]


def publish(
    paths: SplitPaths,
    parts: Sequence[Part],
    records: Iterable[NDArray[Any]],
    *,
    format_name: str,
    fields: tuple[Field, ...],
    sample_type: str,
    plan: Mapping[str, Any],
    modes: Mapping[str, Mapping[str, int]] | None = None,
    skipped: int = 0,
    ignored: Mapping[str, int] | None = None,
    contents: Mapping[str, bytes] | None = None,
    data_dir: str = DATA_DIR,
) -> Manifest:
    """Make a split of shards whose files have their names already; whoever may call holds the split's lock.

    Parameters
    ----------
    paths : SplitPaths
    parts : sequence of Part
        Of all shards, in their order.
    records : iterable of structured array
        The index records of each shard, in the same order; taken one by one.
    format_name : str
    fields : tuple of Field
        Of `index_dtype` of which the records are.
    sample_type : {"tuple", "dict"}
    plan : mapping
        What the manifest keeps of how the split was made, as JSON values.
    modes, skipped, ignored
        Counts of the whole split, to be added to those of the parts.
    contents : mapping of str to bytes
        Further files of the whole split under ``metadata/``, beside those that the parts name.
    data_dir : {"data", "."}
        "." where the shards are files that were there before.

    Raises
    ------
    InputError
        If the shards do not keep their fields in files of the same numbers.
    StorageError
        If the file system fails.
    """
    _check_field_files(paths, parts)
    left_out = [entry for part in parts for entry in part.skipped]
    manifest = Manifest(
        format=format_name,
        split=paths.split,
        sample_type=sample_type,
        fields=fields,
        field_files=dict(parts[0].field_files),
        modes=add_modes([modes or {}, *(part.modes for part in parts)]),
        shards=tuple(part.shard for part in parts),
        index=_write_index(paths, fields, sum(part.shard.num_samples for part in parts), records),
        plan=dict(plan),
        skipped=skipped + len(left_out),
        ignored=add_counts([ignored or {}, *(part.warnings for part in parts)]),
        extra=(
            *write_files(paths.metadata, {**(contents or {}), **_list_of(paths, left_out)}),
            *(file for part in parts for file in part.extra),
        ),
        data_dir=data_dir,
    )
    write_bytes(paths.manifest, manifest.to_bytes())
    return manifest


def check_new(paths: SplitPaths, mend: str) -> None:
    """Raise `OutputExistsError` if a split is there already, finished or not; `mend` says what to do."""
    for path in (paths.manifest, paths.plan):
        if path.exists():
            raise OutputExistsError(
                f"{path} is there: split {paths.split!r} is converted, begun or indexed already; {mend}"
            )


def _check_field_files(paths: SplitPaths, parts: Sequence[Part]) -> None:
    for part in parts:
        if part.field_files != parts[0].field_files:
            one, other = (paths.data / p.shard.files[0].name for p in (parts[0], part))
            raise InputError(f"{other}: the files that belong together are not those of {one}")


def _write_index(paths: SplitPaths, fields: Sequence[Field], count: int, parts: Iterable[NDArray[Any]]) -> StoredFile:
    """Write the index of a split of `count` samples, whose records come in `parts`."""

    def write(file: Any) -> None:
        file.write(npy_header_of(index_dtype(fields), count))
        for records in parts:
            file.write(records.tobytes())

    return write_file(paths.index, write)


def _list_of(paths: SplitPaths, left_out: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the list of the samples that were left out as a file, if there are any."""
    lines = [canonical_json(entry).replace("\n", "") + "\n" for entry in left_out]
    return {paths.skipped.name: "".join(lines).encode()} if lines else {}


def add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of several counts of the same things, sorted by name."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def add_modes(modes: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Return the sums of several counts of the modes of each image field."""
    parts = list(modes)
    names = sorted({name for part in parts for name in part})
    return {name: add_counts(part.get(name, {}) for part in parts) for name in names}
