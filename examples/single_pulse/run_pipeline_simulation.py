r"""Classify an observation while it is recorded.

    python -m examples.single_pulse.run_pipeline_simulation -c CONFIG.json [--speed X]

One process writes the observation anew, `--speed` times as fast as it was recorded, into path_to_output; another
dedisperses what is there and classifies it. `predictions_NAME.npy` (int32) has -1 for every plane that was not
classified yet, and is written through to the disk with every batch, as is `probabilities_NAME.npy` (NaN). A run that
was stopped goes on where it was when it is started again.
"""

import argparse
import json
import multiprocessing
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from examples.common.fit import memory_advice
from examples.single_pulse.filterbank import open_filterbank
from examples.single_pulse.run_inference import (
    PipelineConfig,
    Planes,
    load_classifier,
    probabilities,
    read_pipeline,
    wanted,
)
from shardwright import ConfigError, ShardwrightError
from shardwright.base.storage.atomic import write_bytes

PIECE = 0.05  # seconds of observation that are written at once
PAUSE = 0.02  # seconds between two looks at what is there


def record(source: Path, target: Path, speed: float) -> None:
    """Write the observation from where it ends by now; speed 0: as fast as it goes."""
    found = open_filterbank(source)
    step = max(1, int(PIECE / found.tsamp)) * found.size
    total = found.start + len(found) * found.size
    with source.open("rb") as given, target.open("ab") as file:
        given.seek(file.tell())
        if file.tell() < found.start:
            file.write(given.read(found.start - file.tell()))
        while file.tell() < total:
            file.write(given.read(min(step, total - file.tell())))
            file.flush()
            if speed:
                time.sleep(PIECE / speed)


def _result(path: Path, count: int, empty: Any, dtype: Any) -> Any:
    """Return the array of results in a file, begun or as it was left."""
    if not path.exists():
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, np.full(count, empty, dtype))
        temporary.replace(path)
    return np.load(path, mmap_mode="r+")


def _begin(config: PipelineConfig, target: Path, count: int) -> None:
    """Check that what is there was begun with the same configuration, or note it.

    Raises
    ------
    ConfigError
        If it was not.
    """
    plan = {"input": str(config.input), "bytes": config.input.stat().st_size, "planes": count}
    plan |= {key: getattr(config, key) for key in ("model_name", "name_of_the_model", "resolution", "hop")}
    plan |= {key: getattr(config, key) for key in ("first_dm", "last_dm", "spectra_per_column")}
    note, files = target.with_suffix(".json"), [target, config.output("predictions"), config.output("probabilities")]
    if note.exists():
        if json.loads(note.read_text()) != plan:
            raise ConfigError(f"{note}: another run was begun here: remove {', '.join(map(str, [note, *files]))}")
        return
    if there := [str(path) for path in files if path.exists()]:
        raise ConfigError(f"{', '.join(there)} is there, of another run: remove it, or set path_to_output")
    write_bytes(note, json.dumps(plan, indent=1).encode())


def simulate(config: PipelineConfig, speed: float) -> str:
    """Record and classify at the same time; return what was done."""
    if config.input.suffix != ".fil":
        raise ConfigError(f"{config.input} is no .fil file; run_inference takes arrays")
    model, whole = load_classifier(config), Planes(config)
    count = wanted(config, whole.available())
    folder = config.path(config.path_to_output)
    target = folder / f"recorded_{config.input.name}"
    if target.absolute() == config.input.absolute():
        raise ConfigError(f"{target} would be written over itself: set path_to_output")
    folder.mkdir(parents=True, exist_ok=True)
    _begin(config, target, count)
    predictions = _result(config.output("predictions"), count, -1, np.int32)
    found = _result(config.output("probabilities"), count, np.nan, np.float32)
    writer = multiprocessing.get_context("spawn").Process(target=record, args=(config.input, target, speed))
    writer.start()
    try:
        done = _classify(
            replace(config, path_to_filterbanks=str(folder), name_of_the_filterbank=target.name),
            model,
            predictions,
            found,
            writer,
        )
    finally:
        writer.terminate()
        writer.join()
    return f"{config.output('predictions')}: {done} of {count} planes, {int((predictions == 1).sum())} with a pulse"


def _classify(config: PipelineConfig, model: Any, predictions: Any, found: Any, writer: Any) -> int:
    """Classify planes as soon as they are there; return how many are classified in the end."""
    begin, count = int((predictions >= 0).sum()), len(predictions)
    with tqdm(total=count, initial=begin, desc="classify", disable=None) as bar:
        while begin < count:
            running = writer.is_alive()
            end = min(_available(config, running), count, begin + config.batch_size)
            if end > begin:
                part = probabilities(model, Planes(config, growing=True).read(begin, end))
                found[begin:end] = part
                found.flush()  # before the class, which says that a plane is done
                predictions[begin:end] = part > 0.5
                predictions.flush()
                bar.update(end - begin)
                begin = end
            elif not running:
                raise ConfigError(f"recording stopped early: {begin} of {count} planes are classified; start it again")
            else:
                time.sleep(PAUSE)
    return begin


def _available(config: PipelineConfig, running: bool) -> int:
    """Return how many planes are there; none while the header is being written."""
    try:
        return Planes(config, growing=True).available()
    except ShardwrightError:
        if running:
            return 0
        raise


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: not, and stderr says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="CONFIG.json")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="times as fast as recorded; 0: as it goes (default: 1)"
    )
    options = parser.parse_args(arguments)
    try:
        config = read_pipeline(options.config)
        with memory_advice(options.config):
            print(simulate(config, options.speed))
    except (ShardwrightError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
