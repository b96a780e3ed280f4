"""Configuration files: JSON or YAML into a dataclass, where every wrong, missing or misspelt key is named."""

import difflib
import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from shardwright import ConfigError

__all__ = ["need", "read_config", "read_mapping"]

T = TypeVar("T")


def need(package: str) -> ConfigError:
    """Return the error about a package that is not installed."""
    return ConfigError(f"{package} is not installed: pip install 'shardwright[examples]'")


def read_mapping(path: Path) -> dict[str, Any]:
    """Read names and values from a JSON or YAML file.

    Raises
    ------
    ConfigError
        If it cannot be read, or holds something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        found = _yaml(text, path) if Path(path).suffix in (".yaml", ".yml") else json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds {type(found).__name__}, not keys with values")
    return found


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise need("PyYAML") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def read_config(path: Path, kind: type[T], ignored: Mapping[str, str] | None = None) -> T:
    """Read a file into a dataclass, whose fields may be dataclasses themselves.

    Parameters
    ----------
    path : path
        Of a JSON or YAML file.
    kind : type
        A dataclass: its fields are the keys, with their types and defaults.
    ignored : dict of str to str, optional
        Keys of older projects that mean nothing here (``section.key`` inside of a section), and why: they are printed.

    Returns
    -------
    kind

    Raises
    ------
    ConfigError
        If a key is missing, not known (the nearest one is named) or of another type.
    """
    return _filled(kind, read_mapping(path), str(path), "", ignored or {})


def _filled(kind: type[T], values: Mapping[str, Any], path: str, prefix: str, ignored: Mapping[str, str]) -> T:
    types_of = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    given = {}
    for key, value in values.items():
        if key in known:
            given[key] = _checked(types_of[key], value, path, prefix + key, ignored)
        elif prefix + str(key) in ignored:
            print(f"{path}: {prefix}{key} is ignored: {ignored[prefix + key]}")
        else:
            raise ConfigError(f"{path}: {prefix}{key} is no key here{_nearest(str(key), known)}")
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{path}: the key {prefix}{name} is missing")
    return kind(**given)


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, known, 1, 0.5)
    return f"; {close[0]} is meant?" if close else f"; there are {', '.join(known)}"


def _checked(kind: Any, value: Any, path: str, key: str, ignored: Mapping[str, str]) -> Any:
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {key} is {value!r}, not keys with values")
        return _filled(kind, value, path, f"{key}.", ignored)  # type: ignore[type-var]
    if not _fits(kind, value):
        raise ConfigError(f"{path}: {key} is {value!r}, not {_name(kind)}")
    return float(value) if kind is float else value


def _fits(kind: Any, value: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(one, value) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(_fits(inner[0], one) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(inner[1], one) for one in value.values())
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


def _name(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    inner = get_args(kind)
    if get_origin(kind) is list:
        return f"a list of {_name(inner[0])}"
    if get_origin(kind) is dict:
        return "keys with values"
    return " or ".join(_name(one) for one in inner) if inner else words.get(kind, str(kind))
