"""What `merge` and `index_files` have in common: a new split of shards that are there already."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from datasets.base.commit import SplitPaths, write_file
from datasets.base.errors import OutputExistsError
from datasets.base.fields import Field
from datasets.base.index import index_dtype, npy_header_of
from datasets.base.manifest import StoredFile

__all__ = ["add_counts", "check_new", "write_index"]


def check_new(paths: SplitPaths, mend: str) -> None:
    """Raise `OutputExistsError` if a split is there already, finished or not; `mend` says what to do."""
    for path in (paths.manifest, paths.plan):
        if path.exists():
            raise OutputExistsError(
                f"{path} is there: split {paths.split!r} is converted, begun or indexed already; {mend}"
            )


def write_index(paths: SplitPaths, fields: Sequence[Field], parts: Sequence[NDArray[Any]]) -> StoredFile:
    """Write the index of a split, whose records come in `parts`."""

    def write(file: Any) -> None:
        file.write(npy_header_of(index_dtype(fields), sum(map(len, parts))))
        for records in parts:
            file.write(records.tobytes())

    return write_file(paths.index, write)


def add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of several counts of the same things, sorted by name."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
