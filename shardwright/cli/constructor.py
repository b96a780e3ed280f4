"""Command line options made from the constructors of the converters.

A parameter with a type that can be typed becomes an option of the same name, so
a new format, or a new parameter of an old one, needs no line here. The help is
the parameter's text in the class docstring.
"""

import argparse
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union

from shardwright.base.errors import ShardwrightError
from shardwright.base.fields import Field

__all__ = ["Option", "add_options", "join_pairs", "options_of", "read_names"]

_PARAMETERS = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n---|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\S[^\n]*)\n((?:[ \t]+[^\n]*\n?|\n)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Option:
    """One parameter of a constructor: name, annotation, default and what the docstring says."""

    name: str
    annotation: Any
    default: Any
    text: str

    @property
    def flag(self) -> str:
        """What users type."""
        return "--" + self.name.replace("_", "-")


def options_of(cls: type) -> dict[str, Option]:
    """Return the optional parameters of a class, those that it passes on to its bases included."""
    options: dict[str, Option] = {}
    for owner in cls.__mro__:
        init = vars(owner).get("__init__")
        if init is None or owner is object:
            continue
        signature = inspect.signature(init)
        hints, texts = _hints(init), _parameter_texts(owner.__doc__ or "")
        for name, parameter in signature.parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                option = Option(name, hints.get(name, type(parameter.default)), parameter.default, texts.get(name, ""))
                derived = options.setdefault(name, option)  # its text may be that of its base
                options[name] = replace(derived, text=derived.text or option.text)
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            break
    return options


def _hints(init: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(init)
    except NameError:  # names that only type checkers import
        return {}


def _parameter_texts(doc: str) -> dict[str, str]:
    """Return parameter name to text of the *Parameters* section of a numpydoc docstring."""
    section = re.search(_PARAMETERS, inspect.cleandoc(doc))
    texts: dict[str, str] = {}
    for names, body in re.findall(_ENTRY, section[1] if section else ""):
        for name in names.partition(" : ")[0].split(","):
            texts[name.strip().lstrip("*")] = " ".join(body.split()).replace("`", "")
    return texts


def add_options(parser: Any, options: Mapping[str, Option]) -> None:
    """Add those `options` to an argparse parser or group that can be typed; one not given is not set."""
    for option in options.values():
        how = _how(option)
        if how is not None:
            default = "" if option.default in (None, ()) else f"(default: {_shown(option.default)})"
            text = f"{option.text} {default}".strip().replace("%", "%%")
            parser.add_argument(option.flag, default=argparse.SUPPRESS, help=text, **how)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _how(option: Option) -> dict[str, Any] | None:
    """Return how argparse takes the option, if it can."""
    union = typing.get_origin(option.annotation) in (Union, types.UnionType)
    kinds = typing.get_args(option.annotation) if union else (option.annotation,)
    values = [kind for kind in kinds if kind is not type(None)]
    if values == [bool]:
        return {"action": argparse.BooleanOptionalAction}
    readers = [_reader(kind) for kind in sorted(values, key=lambda kind: kind is str)]  # anything reads as a str
    if not readers or None in readers:
        return None
    known = [reader for reader in readers if reader is not None]
    optional = len(values) < len(kinds)
    form = "|".join([name for name, _ in known] + ["none"] * optional)
    return {"type": _converter(known, optional, form), "metavar": form}


def _converter(readers: Sequence[tuple[str, Callable[[str], Any]]], optional: bool, form: str) -> Callable[[str], Any]:
    """Return a function that makes a value of a text by the first reader that can."""

    def convert(text: str) -> Any:
        if optional and text.lower() == "none":
            return None
        for _, read in readers:
            try:
                return read(text)
            except ShardwrightError as error:  # it is of the right form, and says itself what is wrong
                raise argparse.ArgumentTypeError(str(error)) from error
            except (ValueError, KeyError, TypeError):
                continue
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}")

    return convert


def _reader(kind: Any) -> tuple[str, Callable[[str], Any]] | None:
    """Return how a value of a type is written on the command line, and what reads it."""
    plain: dict[Any, tuple[str, Callable[[str], Any]]] = {
        int: ("N", int),
        float: ("X", float),
        str: ("TEXT", str),
        Path: ("PATH", Path),
        tuple[int, int]: ("HEIGHTxWIDTH", _pair),
        Sequence[Field]: ("JSON", _fields),
        Sequence[str]: ("NAMES", read_names),
    }
    if typing.get_origin(kind) is Literal:
        values = {str(value): value for value in typing.get_args(kind)}
        return "|".join(values), values.__getitem__
    return plain.get(kind)


def _pair(text: str) -> tuple[int, int]:
    height, width = re.split("[x,]", text)
    return int(height), int(width)


def _fields(text: str) -> list[Field]:
    """Read ``[{"name": "label", "kind": "int"}]``."""
    values = json.loads(text)
    return [Field.from_json(value) for value in (values if isinstance(values, list) else [values])]


def read_names(text: str) -> list[str]:
    """Read ``["cat", "dog"]``, ``cat,dog``, or a file with a name on each line."""
    if text.startswith("["):
        return [str(name) for name in json.loads(text)]
    if Path(text).is_file():
        return Path(text).read_text(encoding="utf-8").splitlines()
    if "," not in text:
        raise ValueError(text)  # one word is a split
    return text.split(",")


def join_pairs(arguments: Sequence[str], options: Mapping[str, Option]) -> list[str]:
    """Return the arguments with ``--shape 224 224`` as ``--shape 224x224``."""
    pairs = {o.flag for o in options.values() if tuple[int, int] in (o.annotation, *typing.get_args(o.annotation))}
    joined: list[str] = []
    for text in arguments:
        if text.isdigit() and len(joined) > 1 and joined[-1].isdigit() and joined[-2] in pairs:
            joined[-1] += f"x{text}"
        else:
            joined.append(text)
    return joined
