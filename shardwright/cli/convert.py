"""``shardwright convert``: a folder of images, or a converted split, into shards."""

import argparse
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shardwright.base.errors import ConfigError
from shardwright.base.formats import format_names, get_format
from shardwright.base.progress import readable_bytes
from shardwright.base.split.manifest import Manifest
from shardwright.base.writing.output import check_output
from shardwright.cli.console import complain, say
from shardwright.cli.constructor import Option, add_options, join_pairs, options_of
from shardwright.cli.exit_codes import DAMAGE, DONE
from shardwright.cli.signals import stop_on_signals
from shardwright.cli.words import counted

__all__ = ["EXAMPLES", "chosen_format", "configure", "run"]

INPUT_HELP = "folder of images, a tar or zip of one, array or TFRecord files, or a converted dataset"
EXAMPLES = """\
  shardwright convert photos out --format parquet
  shardwright convert photos/val out --format parquet --split validation
  shardwright convert photos out --format parquet --all-splits   (photos/train, photos/val, ...)
  shardwright convert photos out --format memmap --shape 224x224 --num-workers 8
  shardwright convert photos out --format tar --on-error skip --max-skipped 10
  shardwright convert photos out --format hdf5 --fields '{"name": "image", "kind": "mask"}'
  shardwright convert out other --format tar            (one format into another)
  shardwright convert photos out --estimate             (sizes and times; writes nothing)
  srun shardwright convert photos out --format hdf5 --dist

A conversion that was stopped goes on when the same command is run again.
With --max-skipped N each rank stops at the sample N + 1 that it would skip. When all is
written, exit code 1 says that all ranks together skipped more than N (than 0, without it).
'shardwright convert --format NAME --help' shows the options of one format only.
"""


def configure(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Add the arguments; the converter's own come from its constructor."""
    parser.add_argument("input_data", metavar="INPUT", type=Path, help=INPUT_HELP)
    parser.add_argument("output_path", metavar="OUTPUT", type=Path, help="folder of the shards; made if missing")
    names, estimate = format_names(), "--estimate" in arguments
    parser.add_argument("--format", required=not estimate, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--estimate", action="store_true", help="predict sizes and times, and write nothing")
    parser.add_argument("--input-split", metavar="NAME", help="of a converted INPUT (default: the same as --split)")
    parser.add_argument("--all-splits", action="store_true", help="INPUT's folders are splits: convert each as one")
    parser.add_argument("--input-data-path", metavar="PATH", type=Path, help="folder of INPUT's shards, if elsewhere")
    name = chosen_format(arguments)
    if name in names:
        options = options_of(get_format(name).load_converter())
        add_options(parser, options)
        arguments[:] = join_pairs(arguments, options)
        parser.set_defaults(formats_with=_formats_with)
    elif estimate or {"-h", "--help"} & set(arguments):
        _add_all_options(parser)


def chosen_format(arguments: Sequence[str]) -> str | None:
    """Return what follows ``--format``, before all arguments can be understood."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--format", nargs="?")
    name: str | None = parser.parse_known_args(arguments)[0].format
    return name


def _offered() -> dict[str, dict[str, Option]]:
    """Return the options of every format whose library is there."""
    offered = {}
    for name in format_names():
        with contextlib.suppress(ConfigError):
            offered[name] = options_of(get_format(name).load_converter())
    return offered


def _formats_with(argument: str) -> list[str]:
    """Return the formats that have an option."""
    name = argument.partition("=")[0].removeprefix("--").replace("-", "_")
    return [format_name for format_name, options in _offered().items() if name in options]


def _add_all_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all formats, grouped by the formats that have them."""
    offered, groups = _offered(), dict[str, dict[str, Option]]()
    for options in offered.values():
        for option in options.values():
            owners = [name for name, others in offered.items() if option.name in others]
            title = "options" if len(owners) == len(offered) else f"options of {', '.join(owners)}"
            groups.setdefault(title, {}).setdefault(option.name, option)
    add_options(parser, groups.pop("options", {}))
    for title, options in groups.items():
        add_options(parser.add_argument_group(title), options)


def run(options: argparse.Namespace) -> int:
    """Convert, then say what came of it."""
    if not options.input_data.exists():
        raise ConfigError(f"INPUT {options.input_data} does not exist; check the path")
    ours = ("run", "parser", "traceback", "format", "estimate", "input_split", "input_data_path", "formats_with")
    given = {k: v for k, v in vars(options).items() if k not in (*ours, "all_splits")}
    if options.all_splits:
        if "split" in given:
            raise ConfigError(f"--all-splits and --split {given['split']}: give one of them")
        given["split"] = None
    check_output(options.output_path.absolute(), options.input_data)
    given["input_data"] = _opened(options, given.get("split") or "train")
    if options.estimate:
        from shardwright.cli.estimate import print_estimates

        return print_estimates([options.format] if options.format else list(_offered()), given)
    start, code = time.perf_counter(), DONE
    with stop_on_signals():
        for converter in get_format(options.format).load_converter()(**given).parts():
            before = _finished_samples(converter)
            manifest = converter.convert()
            if manifest is None:
                say(f"{options.output_path}: the shards of this rank are written; the last rank publishes the split")
                continue
            _summarize(converter, manifest, before, time.perf_counter() - start)
            start, code = time.perf_counter(), max(code, _skipped(manifest.skipped, options))
    return code


def _opened(options: argparse.Namespace, split: str) -> Any:
    """Return what to convert: one split of a converted dataset, or a folder as it is."""
    from shardwright.base.split.paths import split_names
    from shardwright.base.view_source import SplitSource

    path, input_split = options.input_data, options.input_split
    if split_names(path):
        return SplitSource(path, input_split or split, data_path=options.input_data_path)
    if input_split:
        raise ConfigError(f"--input-split {input_split}: {path} is no converted dataset; leave the option out")
    return path


def _finished_samples(converter: Any) -> int:
    """Return how many samples an earlier run of the same conversion has finished, at most."""
    paths = converter.paths.staging if converter.overwrite else converter.paths
    total, per_shard = len(converter.source), int(converter.images_per_file)
    shards = len(paths.parts())
    return total if paths.manifest.exists() else min(shards * per_shard, total)


def _summarize(converter: Any, manifest: Manifest, before: int, seconds: float) -> None:
    nbytes = sum(file.size for file in manifest.metadata_files + manifest.shard_files)
    say(f"{converter.paths.root}: split {manifest.split}, {manifest.format}")
    say(f"  images   {manifest.num_samples:,} in {counted(len(manifest.shards), 'shard')}")
    read = converter.source.nbytes
    say(f"  bytes    {'' if read is None else f'{readable_bytes(read)} in, '}{readable_bytes(nbytes)} out")
    written = manifest.num_samples + manifest.skipped - before
    if written <= 0:
        say("  time     it was complete already; nothing was written")
    else:
        went_on = f"; {before:,} images were there from an earlier run" if before else ""
        say(f"  time     {seconds:.1f} s, {written / seconds:,.0f} images/s{went_on}")
    say(f"  labels   {_reader(converter).label_audit}")
    for reason, count in manifest.ignored.items():
        say(f"  ignored  {reason}: {count:,}")
    if manifest.skipped:
        say(f"  skipped  {manifest.skipped:,}, listed in {converter.paths.skipped}")


def _reader(converter: Any) -> Any:
    from shardwright.base.reader import open_reader

    return open_reader(converter.paths.root, split=converter.paths.split)


def _skipped(skipped: int, options: argparse.Namespace) -> int:
    allowed: int = getattr(options, "max_skipped", None) or 0
    if skipped <= allowed:
        return DONE
    complain(
        f"shardwright: {counted(skipped, 'sample')} skipped; look at the list, then mend the files and convert "
        f"again with --overwrite, or pass --max-skipped {skipped} if that is right"
    )
    return DAMAGE
