"""Which classes a conversion gives its labels: those asked for, those it was begun with, or those of a split beside."""

import warnings
from collections.abc import Iterable, Sequence

from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.relabel import check_classes
from shardwright.base.split.classes import label_field
from shardwright.base.split.manifest import load_manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.split.shared_classes import agreed_classes, classes_of_split, differing_splits
from shardwright.base.writing.plan import Plan

__all__ = ["check_shared_classes", "choose_classes"]


def choose_classes(
    paths: SplitPaths, fields: Iterable[Field], given: Sequence[str] | str | None, *, aside: bool
) -> tuple[str, ...] | None:
    """Return the classes to number the labels by; ``None``: the source's own.

    Parameters
    ----------
    paths : SplitPaths
        Of the new split.
    fields : iterable of Field
        Those that the source knows.
    given : sequence of str, or str, optional
        What the user said.
    aside : bool
        A split that is there is replaced: its own classes do not count.
    """
    if isinstance(given, str):
        return classes_of_split(paths, given)
    if given is not None:
        names = check_classes(given)
        if others := differing_splits(paths, names):
            warnings.warn(
                f"{paths.root}: the classes of {', '.join(map(repr, others))} are not classes={list(names)[:10]!r}: "
                "convert them with the same, and overwrite=True",
                stacklevel=4,
            )
        return names
    label = label_field(list(fields))
    if label is None or label.kind != "class_label" or not label.names:
        return None
    begun, classes = _begun(paths.staging if aside else paths)
    if begun and (classes is None or set(label.names) <= set(classes)):
        return classes
    return agreed_classes(paths, label.names)


def _begun(paths: SplitPaths) -> tuple[bool, tuple[str, ...] | None]:
    """Return whether a split was begun or finished, and the classes that its plan says."""
    plan = Plan.read(paths.plan)
    if plan is not None:
        options = plan.options
    elif paths.manifest.exists():
        options = load_manifest(paths).plan.get("options", {})
    else:
        return False, None
    classes = options.get("classes")
    return True, None if classes is None else tuple(classes)


def check_shared_classes(paths: SplitPaths, fields: Sequence[Field]) -> None:
    """Raise `ConfigError` if the numbers of a published split mean other classes than those of these fields."""
    label = label_field(fields)
    if label is None or label.kind != "class_label" or not label.names:
        return
    wider = agreed_classes(paths, label.names)
    if wider is not None:
        raise ConfigError(
            f"{paths.root}: split {paths.split!r} has the classes {list(label.names)[:10]}, a split that is there "
            f"already has {list(wider)[:10]}; the same number would mean different classes. Convert it anew with "
            "overwrite=True: it then takes the numbers of the other"
        )
