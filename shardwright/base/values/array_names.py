"""What images, their labels and their masks are called where they lie side by side: x and y, images and labels, ...

The words are the habits of NumPy, Keras and HDF5 users, for files in a folder and for
arrays in a file: ``x_train`` goes with ``y_train``, ``images-00000`` with ``labels-00000``.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from shardwright.base.values.infer import field_name

__all__ = ["array_fields", "may_hold_labels", "partners"]

_WORDS = (
    ("image", "label", "mask"),
    ("images", "labels", "masks"),
    ("x", "y"),
    ("X", "y"),
    ("data", "labels"),
    ("data", "label"),
    ("images", "targets"),
    ("image", "target"),
    ("data", "targets"),
    ("data", "target"),
    ("x", "target"),
    ("X", "target"),
)
_LABELS_OF = "_labels"  # X.npy and X_labels.npy
_HINTS = re.compile(r"(?<![A-Za-z])(labels?|targets?|y|class|classes|annotations?)(?![A-Za-z])", re.IGNORECASE)

_FIELDS = ("image", "label", "mask")  # what they become, in this order
_FIELD_OF = {word: field for words in _WORDS for word, field in zip(words, _FIELDS, strict=False) if word != "data"}


def partners(name: str, exists: Callable[[str], bool]) -> dict[str, str]:
    """Return field to name of all that belong together with `name`, itself included; empty if it stands alone."""
    for candidates in _candidates(name):
        there = {field: other for field, other in candidates.items() if exists(other)}
        if len(there) > 1 and "image" in there:
            return there
    return {}


def _candidates(name: str) -> Iterator[dict[str, str]]:
    """Yield what the partners of a name could be called: one of its words is another; the last words first."""
    image = name.removesuffix(_LABELS_OF)
    yield {"image": image, "label": f"{image}{_LABELS_OF}"}
    parts = re.split(r"([A-Za-z]+)", name)
    for place in range(len(parts) - 1, -1, -1):
        for words in _WORDS:
            if parts[place] in words:
                names = ("".join([*parts[:place], word, *parts[place + 1 :]]) for word in words)
                yield dict(zip(_FIELDS, names, strict=False))


def may_hold_labels(name: str) -> bool:
    """Whether a file beside images could be one of labels, told by its name."""
    return _HINTS.search(name.partition(".")[0]) is not None


def array_fields(names: Sequence[str]) -> dict[str, str]:
    """Return name to field name, of arrays that lie side by side.

    One array alone is the images, whatever it is called; so is the one whose labels or masks
    are there. Of several such none is, and all keep their names.
    """
    groups = {found["image"]: found for name in names if (found := partners(name, names.__contains__))}
    fields = {names[0]: "image"} if len(names) == 1 else {}
    if len(groups) == 1:
        (group,) = groups.values()
        fields = {name: field for field, name in group.items()}
    for name in names:
        taken = fields.values()
        word = name if len(groups) > 1 else _FIELD_OF.get(name, name)
        fields.setdefault(name, field_name(name if word in taken else word, taken))
    return fields
