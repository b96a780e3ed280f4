"""Where everything of a split lies: every name on disk is made, and told apart, here.

The order of events in a conversion, each durable before the next begins:

1. ``metadata/.<split>.plan.json``: what will be converted, and how.
2. Per shard: its files are written in a hidden folder under ``data/``, hashed,
   fsynced, renamed to their names; the folder is fsynced; then its part,
   ``metadata/.<split>.part-00000``: files, hashes and index records.
3. When all parts are there: the index, further files, and last the manifest.

A name without a leading dot is therefore never given to half of a file. A
killed run leaves parts; the next one keeps the shards whose parts, sizes and
hashes hold. A lock keeps other writers out before they touch anything.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from shardwright.base.arguments import SPLIT_NAME

__all__ = ["DATA_DIR", "SplitPaths", "split_names", "unfinished_splits"]

DATA_DIR = "data"


def split_names(dataset_path: str | Path) -> list[str]:
    """Return the names of the published splits of a folder, sorted."""
    stems = (p.stem for p in (Path(dataset_path) / "metadata").glob("*.json"))
    return sorted(stem for stem in stems if SPLIT_NAME.fullmatch(stem))


def unfinished_splits(dataset_path: Path) -> list[str]:
    """Return the names of the splits of a folder whose conversion was begun and not finished."""
    return [path.name.split(".")[1] for path in (dataset_path / "metadata").glob(".*.plan.json")]


@dataclass(frozen=True, slots=True)
class SplitPaths:
    """Where everything of one split lies."""

    root: Path
    split: str
    data_folder: Path | None = None

    def holding(self, data_dir: str, data_path: str | Path | None = None) -> "SplitPaths":
        """Return these paths with the shards in `data_path`, or else in the folder that the manifest names."""
        folder = self.root / data_dir if data_path is None else Path(data_path).expanduser().absolute()
        return replace(self, data_folder=folder)

    @property
    def data(self) -> Path:
        """The folder of the shards."""
        return self.data_folder or self.root / DATA_DIR

    @property
    def metadata(self) -> Path:
        """The folder of manifest and index."""
        return self.root / "metadata"

    @property
    def manifest(self) -> Path:
        """The manifest, published last."""
        return self.metadata / f"{self.split}.json"

    @property
    def index(self) -> Path:
        """The byte-range index."""
        return self.metadata / f"{self.split}.index.npy"

    @property
    def skipped(self) -> Path:
        """The list of what was left out, if anything was."""
        return self.metadata / f"{self.split}.skipped.jsonl"

    @property
    def plan(self) -> Path:
        """The plan of a conversion under way."""
        return self.metadata / f".{self.split}.plan.json"

    @property
    def staging(self) -> "SplitPaths":
        """Where a split is written that will replace the one that is there."""
        return SplitPaths(self.metadata / f".{self.split}.new", self.split)

    @property
    def listing(self) -> Path:
        """Rank 0's list of the input files, for the other ranks."""
        return self.metadata / f".{self.split}.listing"

    @property
    def publish_lock(self) -> Path:
        """The lock of the process that publishes."""
        return self.metadata / f".{self.split}.publish-lock"

    def part(self, shard: int) -> Path:
        """The record of a finished shard."""
        return self.metadata / f".{self.split}.part-{shard:05d}"

    def rank(self, rank: int) -> Path:
        """The file that says that a rank has come, where a split is written that replaces another."""
        return self.metadata / f".{self.split}.rank-{rank}"

    def lock(self, rank: int) -> Path:
        """The lock of a rank."""
        return self.metadata / f".{self.split}.lock-{rank}"

    def work_folder(self, shard_name: str) -> Path:
        """The hidden folder in which a shard is written."""
        return self.data / f".{shard_name}.tmp"

    def shard_name(self, number: int, count: int) -> str:
        """Return the name of shard `number` of `count`, without suffix; it has no dot."""
        return f"{self.split}-{number:05d}-of-{count:05d}"

    def parts(self) -> list[Path]:
        """Return the records of finished shards that are there."""
        return list(self.metadata.glob(f".{self.split}.part-*[0-9]"))

    def locks(self) -> list[Path]:
        """Return the locks of all ranks that are there, sorted."""
        return sorted(self.metadata.glob(f".{self.split}.lock-*"))

    def work_folders(self) -> list[Path]:
        """Return the hidden folders of shards that are there."""
        return list(self.data.glob(f".{self.split}-*.tmp"))

    def leftovers(self) -> list[Path]:
        """Return the files that only an unfinished conversion needs, in the order in which they may go."""
        patterns = ("part-*", "*.tmp", "rank-*")
        found = [path for end in patterns for path in sorted(self.metadata.glob(f".{self.split}.{end}"))]
        return [*found, self.listing, self.plan]

    def published_files(self) -> set[Path]:
        """Return the published files that are there; no other split's name can begin like this."""
        shards = re.compile(rf"{re.escape(self.split)}-\d{{5,}}-of-\d{{5,}}\..+")
        named = {path for path in self.data.iterdir() if shards.fullmatch(path.name)}
        prefix = f"{self.split}."
        found = self.metadata.iterdir()
        return named | {path for path in found if path.name.startswith(prefix) or shards.fullmatch(path.name)}

    def is_ours(self, path: Path) -> bool:
        """Whether a name is one that this library gives to files of this split."""
        return re.match(rf"\.?{re.escape(self.split)}(\.|-\d{{5}})", path.name) is not None
