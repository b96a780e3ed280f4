"""Convert Caltech-256 to all formats, read it back, verify it, and print what it took.

Usage::

    python run.py                                       a few generated images, in a temporary folder
    python run.py --output-path shards --train          the same, kept, and a small network trained on it
    python run.py --download --formats parquet          the real images (1.2 GB)
    python run.py --input-path my_images --formats tar  your own folder of class folders
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from caltech_folder import class_folders, download, make_images
from torch.utils.data import DataLoader
from torchvision import transforms
from train import train

from shardwright import ShardwrightError, open_reader, verify
from shardwright.base.formats import format_names, get_format


@dataclass(frozen=True)
class Row:
    """What one format took."""

    format: str
    images: int
    bytes_in: int
    bytes_out: int
    write_seconds: float | None  # None: it was there already
    read_seconds: float

    def __str__(self) -> str:
        write = "      there already"
        if self.write_seconds is not None:
            write = f"{self.write_seconds:>9.2f}{self.images / self.write_seconds:>10,.0f}"
        return (
            f"{self.format:<12}{self.images:>8,}{self.bytes_in:>15,}{self.bytes_out:>15,}{write}"
            f"{self.read_seconds:>9.2f}{self.images / self.read_seconds:>10,.0f}"
        )


HEADER = (
    f"{'format':<12}{'images':>8}{'bytes in':>15}{'bytes out':>15}"
    f"{'write s':>9}{'images/s':>10}{'read s':>9}{'images/s':>10}"
)


def convert(images: Path, output: Path, format_name: str, size: int, num_workers: int) -> None:
    """Convert a folder of class folders; called again after a crash, it goes on where it was."""
    converter = get_format(format_name).load_converter()
    # memmap and HDF5 hold pixels of one size, the others the files as they are.
    options = {"shape": (size, size)} if converter.fixed_size else {}
    converter(input_data=images, output_path=output, num_workers=num_workers, **options).convert()


def read_back(path: Path, size: int, num_workers: int) -> int:
    """Read a whole split as a training would, and return the number of images."""
    to_tensor = transforms.Compose([transforms.Resize((size, size)), transforms.PILToTensor()])
    reader = open_reader(path, transform=to_tensor, mode="RGB")
    loader = DataLoader(reader, batch_size=64, num_workers=num_workers)
    labels = torch.cat([labels for images, labels in loader])
    if labels.tolist() != reader.targets.tolist():
        raise SystemExit(f"{path}: the labels read back are not those that were stored")
    return len(labels)


def measure(images: Path, output: Path, format_name: str, size: int, num_workers: int) -> Row:
    """Convert to one format, read it back and verify it."""
    there = (output / "metadata" / "train.json").exists()
    begin = time.perf_counter()
    convert(images, output, format_name, size, num_workers)
    written = time.perf_counter()
    count = read_back(output, size, num_workers)
    read = time.perf_counter()
    report = verify(output)
    if not report.ok:
        raise SystemExit("\n".join(map(str, report.problems)))
    seconds = None if there else written - begin
    return Row(format_name, count, folder_bytes(images), folder_bytes(output), seconds, read - written)


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def output_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Give the folder to write to: a temporary one if nobody named any and the images are generated."""
    if args.output_path or args.input_path or args.download:
        yield args.output_path or Path("caltech256_shards")
        return
    with tempfile.TemporaryDirectory(prefix="caltech256_") as folder:
        yield Path(folder)
        print("\nAll of it was in a temporary folder, which is removed now; --output-path DIR keeps it.")


def input_folder(args: argparse.Namespace, output: Path) -> Path:
    """Return the folder of class folders that the arguments mean."""
    if args.input_path:
        return class_folders(args.input_path)
    return download(output / "download") if args.download else make_images(output / "images")


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--input-path", type=Path, metavar="DIR", help="your copy of Caltech-256, or any folder of class folders"
    )
    source.add_argument("--download", action="store_true", help="download Caltech-256 into the output folder")
    parser.add_argument(
        "--output-path", type=Path, metavar="DIR", help="default: ./caltech256_shards (generated images: temporary)"
    )
    names = format_names()
    all_names = f"default: {' '.join(names)}"
    parser.add_argument("--formats", nargs="+", choices=names, default=names, metavar="FORMAT", help=all_names)
    parser.add_argument("--image-size", type=int, default=224, metavar="PIXELS", help="side of images (default: 224)")
    workers = min(4, os.cpu_count() or 1)
    parser.add_argument("--num-workers", type=int, default=workers, metavar="N", help=f"default: {workers}")
    parser.add_argument("--train", action="store_true", help="then train a small network for an epoch")
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks for."""
    args = parse_arguments()
    with output_folder(args) as output:
        images = input_folder(args, output)
        print(f"Converting {images}\n\n{HEADER}")
        for name in args.formats:
            print(measure(images, output / name, name, args.image_size, args.num_workers), flush=True)
        size = args.image_size
        print(f"\nmemmap and hdf5 hold decoded pixels, {size}x{size}; the others hold the files as they are.")
        print("Every image was read back through a DataLoader, and every byte on disk was verified.")
        for reason, count in open_reader(output / args.formats[0]).manifest.ignored.items():
            print(f"Left out of the input: {count} x {reason}")
        if args.train:
            print(f"\nTraining a small network on the {args.formats[0]} split:")
            train(output / args.formats[0], num_workers=args.num_workers)


if __name__ == "__main__":
    try:
        main()
    except ShardwrightError as error:
        raise SystemExit(str(error)) from error
