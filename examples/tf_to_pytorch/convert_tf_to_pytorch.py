r"""Turn one array of images, as TensorFlow users have it, into one .npy file in PyTorch's order.

    python convert_tf_to_pytorch.py INPUT.npy OUTPUT.npy --chunk-size 500 --verify \
        --labels LABELS.npy --output-labels OUTPUT_LABELS.npy

N,H,W or N,H,W,C (or N,C,H,W) comes in, N,C,H,W goes out, chunk by chunk, so
that only one chunk is in memory. A run that was killed goes on where it
stopped when it is started again. INPUT is an .npy, .npz, HDF5, IDX or gzipped
IDX file. `config_pytorch.json`, beside OUTPUT, says how to train on it;
`verify_pytorch_dataset.py` checks that.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from single_file import SingleFile, check_memory, write_single_file
from tqdm import tqdm

from shardwright import (
    ArraySource,
    ConfigError,
    CorruptShardError,
    InputError,
    OutputExistsError,
    ShardwrightError,
)
from shardwright.arrays.files import open_rows
from shardwright.base.storage.atomic import write_bytes
from shardwright.base.storage.strict_json import canonical_json, parse_json
from shardwright.base.values.infer import find_layout
from shardwright.base.values.rows import Rows

SAMPLES = 1000  # compared by --verify; --verify full compares all


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="INPUT", help=".npy, .npz, HDF5, IDX or gzipped IDX file of images")
    parser.add_argument("output", metavar="OUTPUT.npy", type=Path)
    parser.add_argument("--chunk-size", type=int, default=500, help="images in memory at a time (default: 500)")
    parser.add_argument("--layout", help="NHW, NHWC or NCHW, if the shape leaves a doubt")
    parser.add_argument("--member", help="which array of an .npz or HDF5 file")
    parser.add_argument("--labels", help="file of labels: .npy, .npz, HDF5, IDX, .csv or .txt")
    parser.add_argument("--label-member", help="which array of an .npz or HDF5 file of labels")
    parser.add_argument("--output-labels", type=Path, help="default: OUTPUT_labels.npy")
    parser.add_argument(
        "--config",
        type=Path,
        help="default: config_pytorch.json beside OUTPUT, OUTPUT_config_pytorch.json of a second one",
    )
    parser.add_argument(
        "--verify", nargs="?", const="samples", choices=("samples", "full"), help=f"compare {SAMPLES} images, or all"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT")
    options = parser.parse_args(arguments)
    if options.chunk_size < 1:
        parser.error(f"--chunk-size {options.chunk_size}: give a whole number of at least 1")
    options.config = options.config or own_config(options.output)
    options.output_labels = options.output_labels or options.output.with_name(f"{options.output.stem}_labels.npy")
    return options


def own_config(output: Path) -> Path:
    """Return where the configuration of an array goes: that of another array in the same folder stays."""
    shared = output.with_name("config_pytorch.json")
    try:
        found = parse_json(shared.read_bytes(), str(shared))
        others = isinstance(found, dict) and found.get("images") not in (None, output.name)
    except (OSError, ValueError):
        others = False
    return output.with_name(f"{output.stem}_config_pytorch.json") if others else shared


def nchw_shape(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Return the shape of the output."""
    if layout == "NHW":
        return shape[0], 1, *shape[1:]
    return (shape[0], shape[3], *shape[1:3]) if layout == "NHWC" else shape


def fill_nchw(rows: Rows, layout: str, start: int, out: NDArray[Any]) -> None:
    """Read the images from number `start` on into `out` (n, C, H, W)."""
    stop = start + len(out)
    if layout == "NHWC" and out.shape[1] > 1:
        out[...] = rows.read(start, stop).transpose(0, 3, 1, 2)
    else:  # the same order of values
        rows.read(start, stop, out.reshape(len(out), *rows.shape[1:]))


def describe(source: ArraySource, shape: tuple[int, ...], options: argparse.Namespace) -> dict[str, Any]:
    """Return the content of config_pytorch.json."""
    names = source.labels.names if source.labels else None
    return {
        "images": _from_config(options.output, options.config),
        "labels": _from_config(options.output_labels, options.config) if source.labels else None,
        "num_samples": shape[0],
        "shape": list(shape),
        "layout": "NCHW",
        "dtype": source.rows.dtype.name,
        "num_classes": _num_classes(source),
        "classes": None if names is None else list(names),
        "class_to_idx": source.labels.class_to_idx if source.labels and names else None,
        "loader": {"batch_size": min(64, shape[0]), "num_workers": 4, "shuffle": True, "pin_memory": True},
    }


def _from_config(path: Path, config: Path) -> str:
    """Return a path as the config says it: relative to its own folder, so that both can be moved."""
    return os.path.relpath(path.absolute(), config.absolute().parent)


def check_classes(source: ArraySource) -> None:
    """Make class numbers of whole fractions, as Keras has them, or raise `InputError`."""
    labels = source.labels
    if labels is None or labels.kind in ("int", "class_label"):
        return
    numbers = np.asarray(labels.numbers)
    wrong = np.flatnonzero(numbers != np.rint(numbers)) if numbers.ndim == 1 else np.zeros(1, int)
    if wrong.size:
        row = int(wrong[0])
        raise InputError(f"label {row} is {numbers[row]}: give class numbers, names or one-hot rows")
    source.labels = replace(labels, numbers=numbers.astype(np.int64))


def _num_classes(source: ArraySource) -> int | None:
    if source.labels is None:
        return None
    return len(source.labels.names or ()) or int(source.labels.numbers.max(initial=-1)) + 1


def check_outputs(source: ArraySource, options: argparse.Namespace) -> None:
    """Raise before anything is written if a file of somebody else would be replaced.

    Raises
    ------
    ConfigError
        If an output is an input.
    OutputExistsError
        If the file for the labels holds something else.
    """
    outputs = {options.output.resolve(), options.output_labels.resolve(), options.config.resolve()}
    inputs = {Path(path).resolve() for path in (options.input, options.labels) if path}
    if len(outputs) < 3 or outputs & inputs:
        raise ConfigError("INPUT, OUTPUT, --labels, --output-labels and --config must be different files")
    path = options.output_labels
    if source.labels is None or options.overwrite or not path.exists():
        return
    found = open_rows(path)
    if found.shape != (len(source),) or not np.array_equal(found.read(0, len(found)), source.labels.numbers):
        raise OutputExistsError(f"{path} is there and holds other labels: pass --overwrite, or another --output-labels")


def write_labels(source: ArraySource, path: Path) -> None:
    """Write the class numbers as an int64 .npy file."""
    if source.labels is not None:
        numbers = source.labels.numbers
        rows = SingleFile(path, (len(source),), "<i8", max(1, len(source)), source.content())
        write_single_file(rows, lambda start, out: np.copyto(out, numbers[start : start + len(out)]), overwrite=True)
        rows.forget()


def compare(rows: Rows, layout: str, output: Path, how: str, chunk_size: int) -> int:
    """Compare images of the output with the input, channel by channel; return how many.

    Raises
    ------
    CorruptShardError
        If one differs; the message says which.
    """
    written = open_rows(output)
    if how == "full":
        step = min(chunk_size, max(rows.block, 2**20 // rows.row_bytes))  # small, to stay in the processor's cache
        spans = [(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
    else:
        chosen = np.random.default_rng(0).permutation(len(rows))[:SAMPLES]
        spans = [(int(i), int(i) + 1) for i in np.sort(chosen)]
    for start, stop in tqdm(spans, desc="verify", disable=None):
        _compare_span(rows, layout, written, start, stop)
    return sum(stop - start for start, stop in spans)


def _compare_span(rows: Rows, layout: str, written: Rows, start: int, stop: int) -> None:
    wanted, found = rows.read(start, stop), written.read(start, stop)
    axis = {"NHW": 0, "NHWC": 3, "NCHW": 1}[layout]
    for channel in range(found.shape[1]):
        plane = wanted if layout == "NHW" else wanted.take(channel, axis=axis)
        # As bytes: NaN is not equal to itself, and -0.0 is equal to 0.0.
        same = (_bytes_of(plane) == _bytes_of(found[:, channel])).all(axis=1)
        if not same.all():
            raise CorruptShardError(
                f"image {start + int(np.argmin(same))}, channel {channel}: {written.name} differs from {rows.name}; "
                "delete the output and convert again, and let nobody write to the input meanwhile"
            )


def _bytes_of(planes: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(planes).reshape(len(planes), -1).view(np.uint8)


def finished(options: argparse.Namespace, config: dict[str, Any], target: SingleFile) -> bool:
    """Whether the same conversion was done before.

    Raises
    ------
    OutputExistsError
        If OUTPUT is there and was made otherwise.
    """
    if options.overwrite or not options.output.exists() or target.beside("plan").exists():
        return False
    try:
        found = parse_json(options.config.read_bytes(), str(options.config))
    except (OSError, ValueError):
        found = {}
    same = isinstance(found, dict) and found.get("conversion") == target.plan()
    if not same or options.output.stat().st_size != target.nbytes or found | config != found:
        raise OutputExistsError(f"{options.output} is there and was made otherwise: pass --overwrite, or another name")
    return config["labels"] is None or options.output_labels.exists()


def convert(options: argparse.Namespace) -> str:
    """Do it, and return what was done."""
    source = ArraySource(
        options.input, options.labels, layout=options.layout, member=options.member, label_member=options.label_member
    )
    check_classes(source)
    rows = source.rows
    layout = find_layout(rows.shape, options.layout, rows.name)
    shape = nchw_shape(rows.shape, layout)
    check_outputs(source, options)
    if not shape[0]:
        raise ConfigError(f"{rows.name} holds no images")
    options.chunk_size = min(options.chunk_size, shape[0])
    copies = 2 if rows.block > 1 else 1  # rows that are read in large blocks are in memory twice
    check_memory(options.chunk_size, rows.row_bytes, copies)
    origin = {"content": source.content(), "state": source.state(), "layout": layout}
    target = SingleFile(options.output, shape, rows.dtype.newbyteorder("<").str, options.chunk_size, origin)
    config = describe(source, shape, options)
    if not finished(options, config, target):
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with tqdm(total=shape[0], unit="images", desc="convert", disable=None) as bar:
            stored = write_single_file(
                target,
                lambda start, out: fill_nchw(rows, layout, start, out),
                step=rows.block,
                overwrite=options.overwrite,
                progress=bar.update,
            )
        write_labels(source, options.output_labels)
        config |= {"xxh3": stored.xxh3, "conversion": target.plan()}
        write_bytes(options.config, canonical_json(config).encode())
        target.forget()
    done = f"{options.output}: {shape} {rows.dtype}, config {options.config}"
    if options.verify:
        count = compare(rows, layout, options.output, options.verify, options.chunk_size)
        done += f"; {count} of {shape[0]} images compared, all equal"
    return done


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: not, and stderr says why."""
    options = parse_arguments(arguments)
    try:
        print(convert(options))
    except ShardwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
