"""Checks of arguments, so that a wrong one fails at construction with the mend."""

import re
from collections.abc import Sequence
from typing import Any

from shardwright.base.errors import ConfigError

__all__ = [
    "SPLIT_NAME",
    "check_callable",
    "check_choice",
    "check_height_width",
    "check_quality",
    "check_seconds",
    "check_shape",
    "check_split",
    "check_whole",
]

SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,63}")


def check_callable(name: str, value: Any) -> Any:
    """Return something that can be called, or ``None``, or raise `ConfigError`."""
    if value is not None and not callable(value):
        raise ConfigError(f"{name}={value!r} cannot be called; give a function or a torchvision transform")
    return value


def check_whole(name: str, value: Any, low: int) -> int:
    """Return a whole number >= `low`, or raise `ConfigError`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < low:
        raise ConfigError(f"{name}={value!r} must be a whole number of at least {low}")
    return int(value.__index__())


def check_seconds(name: str, value: Any) -> float:
    """Return a time in seconds >= 0, or raise `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ConfigError(f"{name}={value!r} must be a number of seconds, 0 or more")
    return float(value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of `choices`, or raise `ConfigError`."""
    if value not in choices:
        raise ConfigError(f"{name}={value!r} is unknown; choose one of {', '.join(map(repr, choices))}")
    return value


def check_quality(quality: Any, encoding: str) -> int | None:
    """Return the quality of an encoding, from 1 to 100, or ``None``, or raise `ConfigError`."""
    if quality is None:
        return None
    if encoding == "png":
        raise ConfigError(f"quality={quality!r} has no meaning for png: leave it out, or pass encoding='jpeg'")
    if check_whole("quality", quality, 1) > 100:
        raise ConfigError(f"quality={quality!r} must be at most 100")
    return int(quality)


def check_height_width(name: str, value: Any, instead: str = "") -> tuple[int, int]:
    """Return (height, width), or raise `ConfigError`; `instead` says what else may be given."""
    try:
        height, width = (check_whole(name, n, 1) for n in value)
    except (ConfigError, TypeError, ValueError):
        mend = f"{name}={value!r} must be (height, width), two positive whole numbers{instead and ', or '}{instead}"
        raise ConfigError(mend) from None
    return height, width


def check_shape(value: Any) -> tuple[int, int] | None:
    """Return (height, width), or ``None``, or raise `ConfigError`."""
    if value is None:
        return None
    return check_height_width("shape", value, "None for images of one size")


def check_split(value: Any) -> str:
    """Return the name of a split, or raise `ConfigError`."""
    if not isinstance(value, str) or not SPLIT_NAME.fullmatch(value):
        raise ConfigError(f"split={value!r} must be made of letters, digits and underscores")
    return value
