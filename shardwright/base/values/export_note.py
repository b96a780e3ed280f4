"""The note that an export leaves beside its files: the fields, as they were, which the files alone do not say.

Other tools pass it over. By it a conversion of the exported files gives the fields, class names and
kinds of samples that were exported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shardwright.base.errors import ConfigError, InputError
from shardwright.base.fields import Field, check_fields
from shardwright.base.storage.strict_json import canonical_json, parse_json

__all__ = ["NOTE", "ExportNote"]

NOTE = "shardwright.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ExportNote:
    """The fields of exported samples, in their order, and what a sample is."""

    fields: Mapping[str, Field]
    sample_type: Literal["tuple", "dict"]

    def write(self, folder: Path) -> None:
        """Write the note into a folder."""
        fields = [field.neutral().to_json() for field in self.fields.values()]
        values = {"export_version": _VERSION, "fields": fields, "sample_type": self.sample_type}
        (folder / NOTE).write_text(canonical_json(values), encoding="ascii")

    @classmethod
    def read(cls, folder: Path) -> "ExportNote | None":
        """Read the note of a folder; ``None`` if there is none, `InputError` if it is damaged."""
        path = folder / NOTE
        try:
            values = parse_json(path.read_bytes(), str(path))
            fields = tuple(map(Field.from_json, values["fields"]))
            check_fields(fields)
            if values["export_version"] != _VERSION:
                raise ConfigError(f"version {values['export_version']!r}, this library reads {_VERSION}")
            kind: Literal["tuple", "dict"] = "dict" if values["sample_type"] == "dict" else "tuple"
            return cls({field.name: field for field in fields}, kind)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
            raise InputError(
                f"{path} is no note of an export ({error}): delete it to have the files beside it read as any others"
            ) from error
