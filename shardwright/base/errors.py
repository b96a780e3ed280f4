"""Every error the library raises on purpose.

All derive from `ShardwrightError` and from the built-in that fits, so that
``except ValueError`` and ``except OSError`` go on working::

    ShardwrightError
    ├── ConfigError             ValueError       an argument is wrong
    │   └── DistributedError                     rank, world size or launcher disagree
    ├── InputError              ValueError       the input cannot be converted
    │   ├── UnsupportedImageError                an image of a kind that is not read
    │   └── LimitError                           larger than a limit allows
    ├── OutputExistsError       FileExistsError  something is already there
    ├── LockedError             OSError          somebody else is writing
    ├── PlanMismatchError       ValueError       a resume with other input or options
    ├── IncompleteDatasetError  ValueError       the split was not (yet) published
    ├── CorruptShardError       ValueError       stored bytes are not what was written
    ├── StorageError            OSError          the disk or file system failed
    └── UnsafeDataError         ValueError       a file asks for what it must not
"""

__all__ = [
    "ConfigError",
    "CorruptShardError",
    "DistributedError",
    "IncompleteDatasetError",
    "InputError",
    "LimitError",
    "LockedError",
    "OutputExistsError",
    "PlanMismatchError",
    "ShardwrightError",
    "StorageError",
    "UnsafeDataError",
    "UnsupportedImageError",
    "text_of",
]


class ShardwrightError(Exception):
    """The root of all errors of this library."""


class ConfigError(ShardwrightError, ValueError):
    """An argument is wrong; the message lists what is allowed."""


class DistributedError(ConfigError):
    """Rank, world size or launcher variables are missing or contradict each other."""


class InputError(ShardwrightError, ValueError):
    """The input cannot be converted; the message names the file or sample."""


class UnsupportedImageError(InputError):
    """An image is of a kind that this library does not read."""


class LimitError(InputError):
    """Something is larger than a limit allows."""


class OutputExistsError(ShardwrightError, FileExistsError):
    """The output holds something that would be overwritten."""


class LockedError(ShardwrightError, OSError):
    """Another process is writing the same split."""


class PlanMismatchError(ShardwrightError, ValueError):
    """A conversion is resumed with other input or options than it was begun with."""


class IncompleteDatasetError(ShardwrightError, ValueError):
    """A split was never published, or its manifest does not hold."""


class CorruptShardError(ShardwrightError, ValueError):
    """Stored bytes are not the bytes that were written."""


class StorageError(ShardwrightError, OSError):
    """The disk or the file system failed."""


class UnsafeDataError(ShardwrightError, ValueError):
    """A file asks for something that would be dangerous to do."""


def text_of(error: BaseException) -> str:
    """Return what an error says, and of which class it is if it is not one of this library."""
    return str(error) if isinstance(error, ShardwrightError) else f"{type(error).__name__}: {error}"
