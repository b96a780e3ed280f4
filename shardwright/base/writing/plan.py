"""The plan of a conversion: what will be converted, and how, decided before the first shard."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shardwright.base.errors import DistributedError, PlanMismatchError
from shardwright.base.fields import Field
from shardwright.base.open_source import Labels, open_source
from shardwright.base.source import Source
from shardwright.base.split.manifest import FORMAT_VERSION
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.atomic import write_bytes
from shardwright.base.storage.strict_json import canonical_json, parse_json
from shardwright.base.writing.listing import read_listing

__all__ = ["Plan", "agree_on_plan", "differences", "listed_source", "pause", "told"]

MOST_TOLD = 4  # differences, in one message
_OF_INPUT = {"input", "ignored", "num_samples", "state"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be converted, and how: the same input and options give the same plan."""

    format: str
    split: str
    options: dict[str, Any]
    fields: tuple[Field, ...]
    sample_type: str
    num_samples: int
    input: dict[str, Any]
    ignored: dict[str, int]
    state: str
    format_version: int = FORMAT_VERSION
    # In words: a version that says it otherwise goes on with the same plan.
    labels_from: str = field(default="", compare=False)

    @classmethod
    def of(
        cls, source: Source, format_name: str, split: str, fields: tuple[Field, ...], options: dict[str, Any]
    ) -> "Plan":
        """Return the plan for converting `source`."""
        return cls(
            format=format_name,
            split=split,
            options=options,
            fields=fields,
            sample_type=source.sample_type,
            num_samples=len(source),
            input=source.content(),
            ignored=dict(source.ignored),
            state=source.state(),
            labels_from=source.labels_from,
        )

    @classmethod
    def read(cls, path: Path) -> "Plan | None":
        """Read a plan file; ``None`` if there is none, `PlanMismatchError` if it is damaged."""
        try:
            values = parse_json(path.read_bytes(), str(path))
            values["fields"] = tuple(map(Field.from_json, values["fields"]))
            return cls(**values)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise PlanMismatchError(f"{path} is cut or damaged ({error}); delete it: rm {path}") from error

    def write(self, path: Path) -> None:
        """Write the plan file."""
        write_bytes(path, canonical_json(self.to_json()).encode())

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {"fields": [f.to_json() for f in self.fields]}

    @property
    def num_shards(self) -> int:
        """Shards of the split."""
        return -(-self.num_samples // self.per_shard)

    @property
    def per_shard(self) -> int:
        """Samples per shard."""
        return int(self.options["images_per_file"])

    def published(self) -> dict[str, Any]:
        """Return what of the plan the manifest keeps: nothing that depends on place and time."""
        values = self.to_json()
        kept = ("format", "format_version", "options", "input", "fields", "num_samples")
        return {k: values[k] for k in kept} | ({"labels_from": self.labels_from} if self.labels_from else {})


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


def told(lines: Sequence[str]) -> str:
    """Return differences as one text: what a user typed first, fields last, and only counted what is too much."""
    lines = sorted(lines, key=lambda line: (not line.startswith(("format", "options")), line.startswith("fields")))
    more = [f"and {len(lines) - MOST_TOLD} more"] if len(lines) > MOST_TOLD + 1 else []
    return "; ".join([*lines[:MOST_TOLD], *(more or lines[MOST_TOLD:])])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def listed_source(paths: SplitPaths, input_data: Any, timeout: float, labels: Labels = None) -> Source:
    """Return the source of which rank 0 has made a list, as soon as it is there, or raise `DistributedError`."""
    path = paths.listing
    for names in _listings(paths, timeout):
        if path.name in names:
            with contextlib.suppress(FileNotFoundError):  # the split is published just now
                return read_listing(path, input_data, paths.split, labels)
        if paths.manifest.name in names:
            return open_source(input_data, paths.split, labels=labels)
    raise _no_rank_0(path, timeout)


def agree_on_plan(paths: SplitPaths, plan: Plan, rank: int, timeout: float) -> None:
    """Publish the plan (rank 0), or wait for it, and make sure that all have the same."""
    found = Plan.read(paths.plan)
    if rank == 0 and found is None:
        plan.write(paths.plan)
        return
    found = found or _wait_for(paths, timeout)
    if found is None or found == plan:
        return
    lines = differences(plan.to_json(), found.to_json())
    if rank and {line.partition(".")[0].partition(" ")[0] for line in lines} <= _OF_INPUT:
        raise DistributedError(
            f"{paths.root}: rank {rank} sees other input than rank 0 did: {told(lines)}. All ranks must "
            "see the same files: let nobody write to the input, wait a minute (NFS shows changes late), run again"
        )
    raise PlanMismatchError(
        f"{paths.root}: split {paths.split!r} was begun with another plan: {told(lines)}. "
        "Go on with the old input and options, or begin anew with overwrite=True"
    )


def _wait_for(paths: SplitPaths, timeout: float) -> Plan | None:
    """Return rank 0's plan; ``None`` if the others have published the split meanwhile."""
    for names in _listings(paths, timeout):
        plan = Plan.read(paths.plan) if paths.plan.name in names else None
        if plan is not None or paths.manifest.name in names:
            return plan
    raise _no_rank_0(paths.plan, timeout)


def _listings(paths: SplitPaths, timeout: float) -> Iterator[set[str]]:
    """Yield the names under ``metadata`` again and again; listing makes an NFS client look anew."""
    start = time.monotonic()
    while True:
        with contextlib.suppress(FileNotFoundError):  # rank 0 has not made the folder yet
            yield set(os.listdir(paths.metadata))
        waited = time.monotonic() - start
        if waited > timeout:
            return
        time.sleep(pause(waited))


def pause(waited: float) -> float:
    """Return how long to sleep before the next look: a tenth of what was waited, within 0.05 to 5 seconds."""
    return min(5.0, max(0.05, waited / 10))


def _no_rank_0(path: Path, timeout: float) -> DistributedError:
    return DistributedError(
        f"{path} did not appear within {timeout:.0f} s: rank 0 writes it; is rank 0 running, and does it "
        "see the same file system? If it is still listing the input, pass a longer wait_timeout="
    )
