"""The splits of one output share their classes: the numbers of a new one are those of the published ones."""

import json
from collections.abc import Sequence

from shardwright.base.errors import ConfigError
from shardwright.base.split.classes import label_field
from shardwright.base.split.manifest import load_manifest
from shardwright.base.split.paths import SplitPaths, split_names

__all__ = ["agreed_classes", "classes_of_split", "differing_splits", "shared_list"]

MOST_SHOWN = 30


def published_classes(paths: SplitPaths) -> dict[str, tuple[str, ...]]:
    """Return split to class names, of the other published splits of an output whose labels have names."""
    found = {}
    for split in split_names(paths.root):
        if split != paths.split:
            label = label_field(load_manifest(SplitPaths(paths.root, split)).fields)
            if label is not None and label.kind == "class_label" and label.names:
                found[split] = label.names
    return found


def classes_of_split(paths: SplitPaths, split: str) -> tuple[str, ...]:
    """Return the class names of another published split of an output, or raise `ConfigError`."""
    found = published_classes(paths)
    if split not in found:
        there = (
            f"those with class names are {', '.join(found)}" if found else "no other split with class names is there"
        )
        raise ConfigError(f"classes={split!r}: {paths.root} has no such split; {there}; or give a list of names")
    return found[split]


def agreed_classes(paths: SplitPaths, names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the class names that a new split takes over from the published ones; ``None``: it keeps its own.

    Raises
    ------
    ConfigError
        If the numbers of a published split do not fit: the message gives the list for both.
    """
    published = published_classes(paths)
    if not published or tuple(names) in published.values():
        return None
    wider = {other: theirs for other, theirs in published.items() if set(names) <= set(theirs)}
    if wider and len(set(published.values())) == 1:
        return next(iter(wider.values()))
    split, theirs = next((s, t) for s, t in published.items() if s not in wider or len(wider) > 1)
    raise ConfigError(
        f"{paths.root}: the classes of split {paths.split!r} are {_shown(names)}, those of split {split!r}, which is "
        f"there already, are {_shown(theirs)}; the same number would mean different classes. Convert both with "
        f"classes={shared_list(theirs, names)}, {split!r} with overwrite=True; or choose another output_path="
    )


def differing_splits(paths: SplitPaths, names: Sequence[str]) -> list[str]:
    """Return the published splits of an output whose class names are others."""
    return [split for split, theirs in published_classes(paths).items() if theirs != tuple(names)]


def shared_list(first: Sequence[str], more: Sequence[str]) -> str:
    """Return one list of class names for two splits, as Python and JSON write it: in the first one's order."""
    return json.dumps([*first, *(name for name in more if name not in first)], ensure_ascii=False)


def _shown(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > MOST_SHOWN else ""
    return f"{', '.join(names[:MOST_SHOWN])}{more}"
