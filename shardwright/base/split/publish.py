"""What all have in common that make a split of finished shards: its index and its counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from shardwright.base.errors import OutputExistsError
from shardwright.base.fields import Field
from shardwright.base.split.index import index_dtype, npy_header_of
from shardwright.base.split.manifest import StoredFile
from shardwright.base.split.paths import SplitPaths, write_file

__all__ = ["add_counts", "add_modes", "check_new", "write_index"]


def check_new(paths: SplitPaths, mend: str) -> None:
    """Raise `OutputExistsError` if a split is there already, finished or not; `mend` says what to do."""
    for path in (paths.manifest, paths.plan):
        if path.exists():
            raise OutputExistsError(
                f"{path} is there: split {paths.split!r} is converted, begun or indexed already; {mend}"
            )


def write_index(paths: SplitPaths, fields: Sequence[Field], count: int, parts: Iterable[NDArray[Any]]) -> StoredFile:
    """Write the index of a split of `count` samples, whose records come in `parts`."""

    def write(file: Any) -> None:
        file.write(npy_header_of(index_dtype(fields), count))
        for records in parts:
            file.write(records.tobytes())

    return write_file(paths.index, write)


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
