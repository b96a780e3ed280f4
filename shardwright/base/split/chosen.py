"""Which fields of a split are read, and in which mode its images come."""

from collections.abc import Iterable, Sequence

from shardwright.base.arguments import check_choice
from shardwright.base.errors import ConfigError
from shardwright.base.fields import Field
from shardwright.base.split.manifest import Manifest

__all__ = ["chosen_fields", "modes_of"]


def chosen_fields(manifest: Manifest, columns: Sequence[str] | None) -> tuple[Field, ...]:
    """Return the fields that `columns` names, in that order; ``None``: all.

    Raises
    ------
    ConfigError
        If there is no field of a name, or `columns` is one name instead of a list.
    """
    known = {f.name: f for f in manifest.fields}
    if isinstance(columns, str):
        raise ConfigError(f"columns={columns!r} must be a list of names: columns=[{columns!r}]")
    for name in columns or ():
        check_choice("columns", name, tuple(known))
    return tuple(known[name] for name in (known if columns is None else columns))


def modes_of(manifest: Manifest, fields: Iterable[Field], mode: str | None) -> dict[str, str | None]:
    """Return the Pillow mode that each image field is converted to: `mode`, where it is given; ``None``: as stored."""
    return {f.name: _mode_of(manifest, f, mode) for f in fields if f.is_image}


def _mode_of(manifest: Manifest, field: Field, mode: str | None) -> str | None:
    if mode is not None or field.is_fixed or field.kind == "mask":
        return mode
    return None if len(manifest.modes.get(field.name, {})) <= 1 else "RGB"
