"""A published split, as those see it who only read."""

from shardwright.base.errors import CorruptShardError, ShardwrightError
from shardwright.base.split.manifest import Manifest, load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import check_file, check_size

__all__ = ["Unchanged", "check_split_files"]


def check_split_files(paths: SplitPaths, manifest: Manifest) -> None:
    """Raise unless the index holds and all shards have their sizes."""
    check_file(paths.index, manifest.index)
    for shard in manifest.shards:
        for file in shard.files:
            check_size(paths.data / file.name, file)


class Unchanged:
    """Loads the manifest of a split; called later, makes sure that the one on disk still says the same.

    A split is replaced in this order: the old manifest goes, then the shards, and the new manifest
    comes last. So a shard is of the old split if the old manifest is there after the shard was opened.

    Parameters
    ----------
    paths : SplitPaths

    Raises
    ------
    IncompleteDatasetError
        As `load_manifest`; a call raises `CorruptShardError` instead.
    """

    def __init__(self, paths: SplitPaths) -> None:
        self._paths, self._seen = paths, self._state(paths)  # before it is read: what comes between is seen later
        self.manifest: Manifest = load_manifest(paths)

    def __call__(self) -> None:
        """Compare inode, size and time of the manifest, and its content only where these differ."""
        state = self._state(self._paths)
        if state == self._seen:
            return
        if not state or not self._says_the_same():
            raise CorruptShardError(
                f"{self._paths.manifest}: split {self._paths.split!r} was replaced or removed after this reader was "
                "opened; open the reader again"
            )
        self._seen = state

    def _says_the_same(self) -> bool:
        try:
            return load_manifest(self._paths) == self.manifest
        except (ShardwrightError, OSError):
            return False

    @staticmethod
    def _state(paths: SplitPaths) -> tuple[int, ...]:
        try:
            status = paths.manifest.stat()
        except OSError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns
