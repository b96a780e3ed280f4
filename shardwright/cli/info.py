"""``shardwright info``: what a converted dataset holds."""

import argparse
import json
from pathlib import Path
from typing import Any

from shardwright.base.formats import get_format
from shardwright.base.progress import readable_bytes
from shardwright.base.split.label_audit import LabelAudit
from shardwright.cli.console import say
from shardwright.cli.words import counted

__all__ = ["EXAMPLES", "configure", "describe", "run"]

EXAMPLES = """\
  shardwright info out
  shardwright info out --split validation --json
"""


def configure(parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("dataset_path", metavar="PATH", type=Path, help="the OUTPUT of a conversion")
    parser.add_argument("--split", metavar="NAME", help="default: all splits")
    parser.add_argument(
        "--data-path", type=Path, metavar="PATH", help="folder of the shard files, if they lie elsewhere"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with everything")


def run(options: argparse.Namespace) -> None:
    """Print a paragraph per split, or JSON."""
    from shardwright.base.split.paths import split_names

    names = [options.split] if options.split else split_names(options.dataset_path) or ["train"]
    found = {name: describe(options.dataset_path, name, options.data_path) for name in names}
    if options.json:
        say(json.dumps({"path": str(options.dataset_path), "splits": found}, indent=2))
        return
    say(str(options.dataset_path))
    for name, split in found.items():
        _print_split(name, split)


def describe(dataset_path: Path, split: str, data_path: Path | None = None) -> dict[str, Any]:
    """Return what a split holds, as JSON values, or raise `ShardwrightError`."""
    from shardwright.base.reader import open_reader

    reader = open_reader(dataset_path, split=split, data_path=data_path)
    manifest, audit = reader.manifest, reader.label_audit
    return {
        "format": manifest.format,
        "samples": manifest.num_samples,
        "sample_type": manifest.sample_type,
        "shards": len(manifest.shards),
        "samples_per_shard": max((shard.num_samples for shard in manifest.shards), default=0),
        "bytes": sum(file.size for file in manifest.metadata_files + manifest.shard_files),
        "index_bytes": manifest.index.size,
        "fields": {f.name: _describe_field(reader, f) for f in manifest.fields},
        "classes": reader.classes,
        "class_counts": [entry.count for entry in audit.classes] if reader.classes else [],
        "labels": audit.to_json(),
        "skipped": manifest.skipped,
        "ignored": manifest.ignored,
        "options": manifest.plan.get("options", {}),
    }


def _describe_field(reader: Any, field: Any) -> dict[str, Any]:
    described = {k: v for k, v in field.to_json().items() if k not in ("name", "names")}
    if field.name in reader.manifest.modes:
        described["modes"] = reader.manifest.modes[field.name]
    if not field.is_scalar and len(reader):
        lengths = reader.stored.records[f"{field.name}_length"]
        described["value_bytes"] = {name: getattr(lengths, name)().item() for name in ("min", "mean", "max")}
    return described


def _print_split(name: str, split: dict[str, Any]) -> None:
    module, _, reader = get_format(split["format"]).reader.partition(":")
    say(f"split {name}: {split['format']}")
    say(f"  reader   {reader}, from {module}")
    shards = f"{counted(split['shards'], 'shard')} of up to {split['samples_per_shard']:,}"
    say(f"  samples  {split['samples']:,} in {shards}, {readable_bytes(split['bytes'])}")
    for field, details in split["fields"].items():
        say(f"  field    {field}: {_field_line(details)}")
    say(f"  labels   {LabelAudit.from_json(split['labels'])}")
    for reason, count in split["ignored"].items():
        say(f"  ignored  {reason}: {count:,}")
    if split["skipped"]:
        say(f"  skipped  {split['skipped']:,}, listed in metadata/{name}.skipped.jsonl")


def _field_line(details: dict[str, Any]) -> str:
    import numpy as np

    parts = [details["kind"]]
    if details.get("shape"):
        parts.append(f"{'x'.join(map(str, details['shape']))} {np.dtype(details['dtype']).name}")
    parts += [str(details[key]) for key in ("layout", "compression") if key in details]
    parts += ["turned as EXIF says"] if details.get("exif") == "apply" else []
    if "modes" in details:
        parts.append("modes " + ", ".join(f"{mode} ({count:,})" for mode, count in details["modes"].items()))
    if "value_bytes" in details:
        low, mean, high = (readable_bytes(details["value_bytes"][key]) for key in ("min", "mean", "max"))
        parts.append(f"{low} each" if low == high else f"{low} to {high}, {mean} on average")
    return ", ".join(parts)
