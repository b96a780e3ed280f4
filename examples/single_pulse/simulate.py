r"""Simulate what a radio telescope records: pulses in noise, and what is taken for them.

    python -m examples.single_pulse.simulate OUT --resolution 64 --events 4000 --held-out 1000
    python -m examples.single_pulse.simulate OUT --observation crab.fil --seconds 20 --pulses 10

The first writes DM-time planes as the Keras project had them, (N, H, W) uint8 with the labels "Artefact" and "Pulse":
OUT/planes_64x64.npy, OUT/labels.npy, and the held-out events, of which none is in the other part, as
OUT/held_out_64x64.npy, OUT/held_out_labels.npy and OUT/held_out_snr.npy. The second writes a filterbank file, and
crab.csv with the time and the signal-to-noise ratio of each pulse in it. Nothing here was observed.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.single_pulse.filterbank import Filterbank, dedisperse, delays, scaled, write_header
from shardwright import ConfigError, ShardwrightError

__all__ = ["EFFELSBERG", "Band", "Sky", "band_of", "simulate_observation", "simulate_planes", "trial_dms"]

CLASSES = ("Artefact", "Pulse")
RESOLUTIONS = (32, 64, 128, 256)
SNR = (7.0, 30.0)
KINDS = ("noise", "broadband", "narrow-band", "drifting", "other DM")  # of artefacts
Power = NDArray[np.float32]


@dataclass(frozen=True)
class Band:
    """What a receiver records: channels from `top` down to `bottom` MHz, a spectrum every `tsamp` seconds."""

    top: float
    bottom: float
    channels: int
    tsamp: float

    @property
    def step(self) -> float:
        """MHz from a channel to the next one; they go down."""
        return (self.bottom - self.top) / self.channels

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Of the channels, MHz."""
        return self.top + self.step * (np.arange(self.channels) + 0.5)

    def binned(self, count: int) -> "Band":
        """Return the band with `count` spectra added up to one."""
        return Band(self.top, self.bottom, self.channels, self.tsamp * count)


EFFELSBERG = Band(1530.0, 1210.0, 64, 102.4e-6)


def band_of(found: Filterbank) -> Band:
    """Return the band of an observation."""
    frequencies, width = found.frequencies, abs(float(found.header["foff"]))
    low, high = float(frequencies.min()), float(frequencies.max())
    return Band(high + width / 2, low - width / 2, found.nchans, found.tsamp)


@dataclass(frozen=True)
class Sky:
    """Which pulses are there: dispersion measures that make a "Pulse", and those of the plane's rows, pc/cm^3."""

    low: float = 56.0
    high: float = 58.0
    first: float = 0.0
    last: float = 127.5

    def other(self, rng: np.random.Generator) -> float:
        """Return a measure in the plane that no one could take for the pulse's."""
        away = 0.05 * (self.last - self.first)
        while True:
            dm = float(rng.uniform(self.first, self.last))
            if not self.low - away < dm < self.high + away:
                return dm


def trial_dms(resolution: int, sky: Sky | None = None) -> NDArray[np.float64]:
    """Return the dispersion measures of a plane's rows, lowest first: 0, 0.5, ... 127.5 for 256."""
    sky = sky or Sky()
    return np.linspace(sky.first, sky.last, resolution)


def add_pulse(power: Power, band: Band, dm: float, time: float, snr: float, width: float) -> None:
    """Add a dispersed pulse to power (channels, time).

    Parameters
    ----------
    power : ndarray
        Noise of standard deviation 1.
    dm : float
        pc/cm^3.
    time : float
        When the highest channel has it, in samples.
    snr : float
        That of its sum over all channels, through a matched filter.
    width : float
        Standard deviation, samples; channels add the dispersion inside of them.
    """
    ghz = band.frequencies / 1000
    inside = 8.3e-6 * dm * abs(band.step) / ghz**3 / band.tsamp / 2.355
    sigma = np.sqrt(width**2 + inside**2)[:, None]
    arrival = time + delays(band.frequencies, dm)[:, None] / band.tsamp
    shape = np.exp(-0.5 * ((np.arange(power.shape[1]) - arrival) / sigma) ** 2) / sigma
    whole = float(np.sqrt((shape.astype(np.float64) ** 2).sum()))
    power += (snr / max(whole, 1e-12) * shape).astype(np.float32)


def add_artefact(power: Power, band: Band, sky: Sky, kind: str, columns: int, rng: np.random.Generator) -> None:
    """Add interference, or a pulse of another source, to power (channels, time)."""
    channels, length = power.shape
    time, strength = rng.uniform(0, columns), rng.uniform(*SNR)
    if kind == "broadband":
        add_pulse(power, band, 0.0, time, 2 * strength, rng.uniform(0.5, 4))
    elif kind == "other DM":
        add_pulse(power, band, sky.other(rng), time, strength, rng.uniform(0.5, 2))
    elif kind == "narrow-band":
        first, many = rng.integers(channels), 1 + rng.integers(max(channels // 32, 1))
        wave = 1 + np.sin(np.arange(length) * rng.uniform(0.01, 0.3) + rng.uniform(0, 6))
        power[first : first + many] += (strength / 4 * wave).astype(np.float32)
    elif kind == "drifting":
        track = rng.uniform(0, channels) + rng.uniform(-1, 1) * channels / columns * np.arange(length)
        inside = np.flatnonzero((track >= 0) & (track < channels))
        power[track[inside].astype(int), inside] += np.float32(strength / 4)


def simulate_planes(
    count: int, resolution: int, seed: int, band: Band = EFFELSBERG, sky: Sky | None = None, copies: int = 1
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]]:
    """Yield planes of `count` events, half of them pulses, in batches.

    Parameters
    ----------
    count, resolution, seed : int
        Planes are `resolution` trial measures by as many columns of time.
    band : Band
        Of 256 columns; with fewer, as many more spectra make a column.
    copies : int
        Windows that are cut from each event, shifted against each other, one after the other.

    Yields
    ------
    planes : ndarray
        Uint8, shape (n, resolution, resolution).
    labels : ndarray
        0 artefact, 1 pulse.
    snr : ndarray
        Of the pulses; NaN for artefacts.
    """
    rng, sky = np.random.default_rng(seed), sky or Sky()
    band, dms = band.binned(256 // resolution), trial_dms(resolution, sky)
    longest = int(np.rint(delays(band.frequencies, dms) / band.tsamp).max())
    shifts = [int(s) for s in np.linspace(0, resolution // 2, copies)]
    length = resolution + shifts[-1] + longest
    per_batch = max(1, 2**23 // (band.channels * length))
    for begin in range(0, count, per_batch):
        n = min(per_batch, count - begin)
        power = rng.standard_normal((band.channels, n, length), np.float32)
        labels, snr = np.arange(begin, begin + n) % 2, np.full(n, np.nan)
        for i in range(n):
            time = rng.uniform(0.03 * resolution, 0.97 * resolution) + shifts[-1] / 2
            if labels[i]:
                snr[i] = rng.uniform(*SNR)
                add_pulse(power[:, i], band, rng.uniform(sky.low, sky.high), time, snr[i], rng.uniform(0.5, 2))
            else:
                kind = KINDS[(begin + i) // 2 % len(KINDS)]
                add_artefact(power[:, i], band, sky, kind, resolution, rng)
        whole = dedisperse(power, band.frequencies, band.tsamp, dms).transpose(1, 0, 2)
        cut = np.stack([whole[:, :, shift : shift + resolution] for shift in shifts], axis=1)
        yield scaled(cut.reshape(-1, *cut.shape[2:])), labels.repeat(copies), snr.repeat(copies)


def simulate_observation(
    path: Path, seconds: float, pulses: int, seed: int, band: Band = EFFELSBERG, sky: Sky | None = None
) -> list[tuple[float, float]]:
    """Write a filterbank file with pulses and interference; return time (s) and signal-to-noise ratio of each pulse."""
    rng, sky = np.random.default_rng(seed), sky or Sky()
    length, header = int(seconds / band.tsamp), _header(band)
    tail = int(np.rint(delays(band.frequencies, sky.last).max() / band.tsamp))
    if length < 4 * tail:
        raise ConfigError(f"--seconds {seconds}: give at least {4 * tail * band.tsamp:.1f}, for the longest delay")
    power = rng.standard_normal((band.channels, length), np.float32)
    events = []
    for place in (np.arange(pulses) + rng.uniform(0.2, 0.8, pulses)) / max(pulses, 1) * (length - 2 * tail):
        snr = float(rng.uniform(10, 30))
        part = power[:, int(place) : int(place) + 2 * tail]
        add_pulse(part, band, rng.uniform(sky.low, sky.high), place - int(place) + 50, snr, rng.uniform(0.5, 2))
        events.append((float((place + 50) * band.tsamp), snr))
    for place in rng.integers(0, length - 2 * tail, pulses):
        add_artefact(power[:, place : place + 2 * tail], band, sky, KINDS[rng.integers(1, 5)], 256, rng)
    with path.open("wb") as file:
        write_header(file, header)
        file.write(np.clip(np.rint(power.T * 8 + 96), 0, 255).astype(np.uint8).tobytes())
    return events


def _header(band: Band) -> dict[str, object]:
    frequencies = band.frequencies
    return {
        "source_name": "simulated",
        "data_type": 1,
        "nchans": band.channels,
        "nbits": 8,
        "nifs": 1,
        "tsamp": band.tsamp,
        "fch1": float(frequencies[0]),
        "foff": band.step,
        "tstart": 60000.0,
    }


def write_arrays(folder: Path, resolution: int, events: int, held_out: int, copies: int, seed: int) -> list[str]:
    """Write both parts, and return what was written; their random numbers have nothing in common."""
    done = []
    for part, count, begin in (("", events, 0), ("held_out_", held_out, 1)):
        if not count:
            continue
        each = 1 if part else copies
        name = f"{part or 'planes_'}{resolution}x{resolution}.npy"
        target = np.lib.format.open_memmap(folder / name, "w+", np.uint8, (count * each, resolution, resolution))
        labels, snr, at = [], [], 0
        for planes, numbers, ratios in simulate_planes(count, resolution, 2 * seed + begin, copies=each):
            target[at : at + len(planes)] = planes
            at += len(planes)
            labels.append(np.array(CLASSES)[numbers])
            snr.append(ratios)
        target.flush()
        np.save(folder / f"{part}labels.npy", np.concatenate(labels))
        if part:
            np.save(folder / f"{part}snr.npy", np.concatenate(snr))
        done.append(f"{folder / name}: {target.shape} uint8, {count} events")
    return done


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0: done, 1: not, and stderr says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT", help="a folder")
    parser.add_argument("--resolution", type=int, choices=RESOLUTIONS, default=64)
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--copies", type=int, default=1, help="shifted windows of each event, for training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--observation", metavar="NAME.fil", help="write a filterbank file instead")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pulses", type=int, default=10)
    options = parser.parse_args(arguments)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        if options.observation:
            path = options.output / options.observation
            events = simulate_observation(path, options.seconds, options.pulses, options.seed)
            lines = [f"{time:.4f},{snr:.1f}" for time, snr in sorted(events)]
            path.with_suffix(".csv").write_text("seconds,snr\n" + "".join(f"{line}\n" for line in lines))
            print(f"{path}: {options.seconds:g} s, {len(events)} pulses, listed in {path.with_suffix('.csv')}")
        else:
            print(
                *write_arrays(
                    options.output, options.resolution, options.events, options.held_out, options.copies, options.seed
                ),
                sep="\n",
            )
    except (ShardwrightError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
