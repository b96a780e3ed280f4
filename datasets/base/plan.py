"""The plan of a conversion: what will be converted, and how, decided before the first shard."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.base.commit import SplitPaths, publish_file
from datasets.base.errors import DistributedError, PlanMismatchError
from datasets.base.fields import Field
from datasets.base.manifest import FORMAT_VERSION, canonical_json, parse_json
from datasets.sources.source import Source

__all__ = ["Plan", "agree_on_plan", "differences"]

PLAN_TIMEOUT = 600.0  # seconds that a rank waits for rank 0's plan; NFS shows new files after 30 to 60


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be converted, and how.

    Parameters
    ----------
    values : dict
        JSON values: format, split, options, fields, content and state of the
        input. The same input and options give the same plan.
    """

    values: dict[str, Any]

    @classmethod
    def of(
        cls, source: Source, format_name: str, split: str, fields: tuple[Field, ...], options: dict[str, Any]
    ) -> "Plan":
        """Return the plan for converting `source`."""
        return cls(
            {
                "format": format_name,
                "format_version": FORMAT_VERSION,
                "split": split,
                "options": options,
                "fields": [f.to_json() for f in fields],
                "sample_type": source.sample_type,
                "num_samples": len(source),
                "input": source.content(),
                "ignored": dict(source.ignored),
                "state": source.state(),
            }
        )

    @classmethod
    def read(cls, path: Path) -> "Plan | None":
        """Read a plan file; ``None`` if there is none.

        Raises
        ------
        PlanMismatchError
            If it is damaged.
        """
        try:
            values = parse_json(path.read_bytes(), str(path))
            Field.from_json(values["fields"][0])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise PlanMismatchError(f"{path} is cut or damaged ({error}); delete it: rm {path}") from error
        return cls(values)

    @property
    def fields(self) -> tuple[Field, ...]:
        """How each field is stored."""
        return tuple(Field.from_json(f) for f in self.values["fields"])

    @property
    def num_samples(self) -> int:
        """Samples of the input."""
        return int(self.values["num_samples"])

    @property
    def per_shard(self) -> int:
        """Samples per shard."""
        return int(self.values["options"]["images_per_file"])

    @property
    def num_shards(self) -> int:
        """Shards of the split."""
        return -(-self.num_samples // self.per_shard)

    def shard_name(self, shard: int) -> str:
        """Return the name of a shard, without suffix."""
        return f"{self.values['split']}-{shard:05d}-of-{self.num_shards:05d}"

    def published(self) -> dict[str, Any]:
        """Return what of the plan the manifest keeps: nothing that depends on place and time."""
        return {k: self.values[k] for k in ("format", "format_version", "options", "input", "fields", "num_samples")}


def differences(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """Return a line for each entry in which two plans differ."""
    lines = []
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key} is {_short(a)} now and was {_short(b)}")
    return lines


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else f"{text[:97]}..."


def agree_on_plan(paths: SplitPaths, plan: Plan, rank: int) -> None:
    """Publish the plan (rank 0), or wait for it, and make sure that all have the same.

    Raises
    ------
    PlanMismatchError
        If an unfinished conversion was begun with another plan.
    DistributedError
        If rank 0's plan does not come.
    """
    found = Plan.read(paths.plan)
    if rank == 0 and found is None:
        publish_file(paths.plan, canonical_json(plan.values).encode())
        return
    found = found or _wait_for(paths.plan)
    lines = differences(plan.values, found.values)
    if lines:
        raise PlanMismatchError(
            f"{paths.root}: split {paths.split!r} was begun with another plan: {'; '.join(lines)}. "
            "Go on with the old input and options, or begin anew with overwrite=True"
        )


def _wait_for(path: Path) -> Plan:
    deadline = time.monotonic() + PLAN_TIMEOUT
    while time.monotonic() < deadline:
        os.listdir(path.parent)  # makes an NFS client look again
        plan = Plan.read(path)
        if plan is not None:
            return plan
        time.sleep(0.1)
    raise DistributedError(
        f"{path} did not appear within {PLAN_TIMEOUT:.0f} s: rank 0 writes it; "
        "is rank 0 running, and does it see the same file system?"
    )
