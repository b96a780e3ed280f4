"""What the suffixes of tar members say: ``.jpg`` is an image, ``.cls`` a label, ``.seg.png`` a mask."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shardwright.base.errors import InputError
from shardwright.base.images.probe import IMAGE_EXTENSIONS
from shardwright.base.values.infer import field_name
from shardwright.base.values.mask_values import image_kind

__all__ = ["fields_of", "is_known", "slot_of"]

_KINDS = {
    "class_label": "cls",
    "int": "class cls2 count id index inx",
    "image": " ".join(IMAGE_EXTENSIONS),
    "json": "jsn json",
    "text": "text transcript txt",
    "array": "npy",
}
_KIND_OF = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}
_NAMES = {"image": "image", "class_label": "label"}


def fields_of(
    rows: Mapping[str, NDArray[np.int64]], count: int, left_out: dict[str, int]
) -> dict[str, tuple[str, Sequence[str]]]:
    """Return field name to its kind and the suffixes of its members.

    Parameters
    ----------
    rows : mapping of str to int64 array
        Suffix to the numbers of the samples that have such a member.
    count : int
        Samples.
    left_out : dict of str to int
        Takes what not every sample has.

    Raises
    ------
    InputError
        If there is nothing that every sample has.
    """
    slots: dict[tuple[str, str], list[str]] = {}  # name and kind: .jpg and .png are both the image
    for suffix in rows:
        slots.setdefault(slot_of(suffix), []).append(suffix)
    for slot, suffixes in list(slots.items()):
        together = np.concatenate([rows[suffix] for suffix in suffixes])
        if len(np.unique(together)) < len(together):  # a sample has both, so they are different things
            del slots[slot]
            slots |= {(suffix, slot[1]): [suffix] for suffix in suffixes}
    names = [name for name, _ in slots]
    fields: dict[str, tuple[str, Sequence[str]]] = {}
    for (name, kind), suffixes in slots.items():
        have = sum(len(rows[suffix]) for suffix in suffixes)
        if have < count:
            left_out[f"member .{suffixes[0]:.80}: not in every sample"] = have
            continue
        fields[field_name(name if names.count(name) == 1 else suffixes[0], fields)] = kind, suffixes
    if count and not fields:
        counts = ", ".join(f".{suffix:.80} in {len(found):,}" for suffix, found in list(rows.items())[:5])
        raise InputError(f"nothing is in every one of the {count:,} samples: {counts}; convert them, or pack them anew")
    return fields


def slot_of(suffix: str) -> tuple[str, str]:
    """Return the name and the kind of what members of a suffix hold."""
    prefix, _, last = suffix.rpartition(".")
    kind = _KIND_OF.get(last, "bytes")
    if kind == "bytes":
        return suffix, kind
    name = prefix or _NAMES.get(kind, last)
    return name, image_kind(name) if kind == "image" else kind


def is_known(suffix: str) -> bool:
    """Whether a suffix says what a member holds."""
    return slot_of(suffix)[1] != "bytes"
