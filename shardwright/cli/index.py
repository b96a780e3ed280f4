"""``shardwright index``: random access to files that exist already, which stay as they are."""

import argparse
from pathlib import Path
from typing import Any

from shardwright.base.progress import readable_bytes
from shardwright.cli.console import say
from shardwright.cli.constructor import read_names
from shardwright.cli.words import counted

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
  shardwright index shards                              (tar, Parquet, Arrow, HDF5, .npy, .npz, TFRecord)
  shardwright index "shards/val-*.tar" --split validation
  shardwright index readonly/images.npy --metadata-dir my-index
  shardwright verify my-index --data-path readonly      (the files are elsewhere, so say where)

Webdataset tar files, Hugging Face's Parquet (uncompressed images) and Arrow files, .npy, .npz and IDX
arrays, contiguous HDF5 datasets and TFRecord files are read in place; what is compressed has to be converted.
"""

EXIF_HELP = "whether readers turn images as their EXIF orientation says (default: ignore)"


def configure(parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("path", metavar="PATH", type=Path, help="a folder, a file, or a quoted pattern of file names")
    parser.add_argument(
        "--metadata-dir", type=Path, metavar="PATH", help="where to write 'metadata' (default: beside the files)"
    )
    parser.add_argument("--split", metavar="NAME", default="train", help="what to call these files (default: train)")
    parser.add_argument("--format", metavar="NAME", help="default: told by the suffix")
    parser.add_argument("--exif", choices=("ignore", "apply"), default="ignore", help=EXIF_HELP)
    parser.add_argument("--labels", metavar="FILE", help="of images in an archive: a csv, tsv or jsonl file, ...")
    parser.add_argument(
        "--classes", metavar="NAMES", help="cat,dog or a JSON list, a file with a name on each line, or a split's name"
    )


def _classes(text: str | None) -> list[str] | str | None:
    if text is None:
        return None
    try:
        return read_names(text)
    except ValueError:
        return text


def _reader(options: argparse.Namespace, split: str) -> Any:
    from shardwright.base.reader import open_reader

    folder = options.path if options.path.is_dir() else options.path.parent
    return open_reader(options.metadata_dir or folder, split=split, data_path=folder)


def run(options: argparse.Namespace) -> None:
    """Index the files and say what was found."""
    from shardwright.base.index_files import index_files  # torch is slow to import

    where = (options.path, options.metadata_dir, options.split, options.format)
    manifest = index_files(
        *where, exif=options.exif, labels=options.labels, classes=_classes(options.classes), progress=None
    )
    files = [file.size for file in manifest.shard_files]
    say(f"{options.path}: split {manifest.split}, {manifest.format}; the files are as they were")
    say(f"  samples  {manifest.num_samples:,} in {counted(len(files), 'file')}, {readable_bytes(sum(files))}")
    say(f"  fields   {', '.join(f'{f.name} ({f.kind})' for f in manifest.fields)}")
    say(f"  labels   {_reader(options, manifest.split).label_audit}")
    for reason, count in manifest.ignored.items():
        say(f"  left out {reason}: {count:,}")
    for name, modes in manifest.modes.items():
        if modes.get("unreadable"):
            say(f"  damaged  {name}: {modes['unreadable']:,} are no images that can be read")
