"""Mixins that break a reader."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from shardwright.base.split import split
from shardwright.base.storage.files import FileCache


class LastShardOffByOne:
    """The first sample of the last shard is looked for in the shard before."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stored._starts[-2] += 1


class LastSampleLost:
    """The length is one too small."""

    def __len__(self) -> int:
        return super().__len__() - 1


class OrderChanged:
    """Samples come in the order in which they lie on disk."""

    def __getitems__(self, indices: Any) -> list[Any]:
        return super().__getitems__(sorted(indices))


class WrapsAround:
    """An index out of range begins anew at the other end."""

    def _positions(self, indices: Any) -> Any:
        return super()._positions([int(i) % len(self) for i in indices])


class TargetTransformForgotten:
    """target_transform is not applied."""

    def _finish(self, values: tuple[Any, ...]) -> Any:
        self.target_transform = None
        return super()._finish(values)


class OpensAtOnce:
    """All shards are opened when the reader is made."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for path in (self.dataset_path / "data").iterdir():
            with self.stored._files.open(path, path.stat().st_size):
                pass


class HandlesUnbounded:
    """No file is ever closed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stored._files = FileCache(10_000)


class NeverChecks:
    """check=True is ignored."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "check": False})


class TrustsSizes:
    """Shards are not looked at when the reader is made."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        check, split.check_split_files = split.check_split_files, lambda paths, manifest: None
        try:
            super().__init__(*arguments, **options)
        finally:
            split.check_split_files = check


class KeepingCache(FileCache):
    """Descriptors are pickled as numbers, which mean another file elsewhere."""

    def __reduce__(self) -> Any:
        return KeepingCache, (self.limit, {str(path): handle.fd for path, handle in self._handles.items()})

    def __init__(self, limit: int, inherited: dict[str, int] | None = None) -> None:
        super().__init__(limit)
        self.inherited = inherited or {}

    @contextlib.contextmanager
    def open(self, path: Path, size: int) -> Iterator[int]:
        """Lend the inherited descriptor, if there is one."""
        if str(path) in self.inherited:
            yield self.inherited[str(path)]
        else:
            with super().open(path, size) as fd:
                yield fd


class HandleKeptThroughPickle:
    """Descriptors travel with the reader."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stored._files = KeepingCache(options.get("max_open_files", 64))


class SharedCache(FileCache):
    """Each file is opened once for a process and its children, and never closed."""

    opened: ClassVar[dict[Path, int]] = {}

    @contextlib.contextmanager
    def open(self, path: Path, size: int) -> Iterator[int]:
        """Lend the one descriptor."""
        if path not in self.opened:
            self.opened[path] = os.open(path, os.O_RDONLY)
        yield self.opened[path]


class SharedPosition:
    """Reads seek first (`seek_and_read`), with a descriptor that threads and children share."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stored._files = SharedCache()


def seek_and_read(fd: int, length: int, offset: int) -> bytes:
    """Read as files are read without `pread`; the pause makes a rare fault a frequent one."""
    os.lseek(fd, offset, os.SEEK_SET)
    time.sleep(0.005)
    return os.read(fd, length)
