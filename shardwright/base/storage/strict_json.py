"""JSON that is the same text for the same values, and that is read with care wherever it comes from."""

import json
from typing import Any

from shardwright.base.errors import UnsafeDataError

__all__ = ["canonical_json", "parse_json"]

MAX_BYTES = 64 * 2**20


def canonical_json(values: Any) -> str:
    """Return `values` as JSON text, the same text for the same values."""
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"


def parse_json(text: bytes, what: str) -> Any:
    """Parse JSON that may come from anywhere, or raise `UnsafeDataError` or `ValueError`."""

    def refuse(name: str) -> Any:
        raise UnsafeDataError(f"{what}: {name} is not allowed in JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            refuse("a repeated key")
        return values

    def integer(digits: str) -> int:
        return int(digits) if len(digits) <= 20 else refuse("a number of more than 20 digits")

    if len(text) > MAX_BYTES:
        raise UnsafeDataError(f"{what} has {len(text)} bytes, more than {MAX_BYTES}")
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_int=integer)
    except RecursionError:
        raise UnsafeDataError(f"{what}: nested too deeply") from None
