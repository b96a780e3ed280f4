"""SIGPROC filterbank files (``.fil``), and dedispersion: from power over time and frequency to DM-time planes."""

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shardwright import ConfigError, CorruptShardError

__all__ = ["Filterbank", "dedisperse", "delays", "open_filterbank", "planes_of", "scaled", "write_header"]

K_DM = 4.148808e-3  # s GHz^2 cm^3 / pc
_INTEGERS = {"telescope_id", "machine_id", "data_type", "barycentric", "pulsarcentric", "nbits", "nsamples", "nchans"}
_INTEGERS |= {"nifs", "nbeams", "ibeam"}
_DOUBLES = {"az_start", "za_start", "src_raj", "src_dej", "tstart", "tsamp", "fch1", "foff", "refdm", "period"}
_TEXTS = {"rawdatafile", "source_name"}
_DTYPES = {8: "<u1", 16: "<u2", 32: "<f4"}
_LONGEST = 80  # characters of a keyword or a text


@dataclass(frozen=True)
class Filterbank:
    """An observation: spectra of `nchans` channels every `tsamp` seconds, where they lie in a file.

    Parameters
    ----------
    path : path
    header : dict
        As in the file.
    start : int
        Bytes of the header.
    """

    path: Path
    header: Mapping[str, Any]
    start: int

    @property
    def nchans(self) -> int:
        """Channels per spectrum."""
        return int(self.header["nchans"])

    @property
    def tsamp(self) -> float:
        """Seconds between spectra."""
        return float(self.header["tsamp"])

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Of the channels as they are stored, MHz, shape (nchans,)."""
        return float(self.header["fch1"]) + float(self.header["foff"]) * np.arange(self.nchans)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values in the file."""
        kind = np.dtype(_DTYPES[self.header["nbits"]])
        return np.dtype("i1") if kind.itemsize == 1 and self.header.get("signed") else kind

    @property
    def size(self) -> int:
        """Bytes of a spectrum."""
        return self.nchans * self.dtype.itemsize

    def __len__(self) -> int:
        return (os.stat(self.path).st_size - self.start) // self.size

    def read(self, begin: int, end: int) -> NDArray[np.float32]:
        """Return spectra, shape (end - begin, nchans), read from where they lie."""
        shape = (end - begin, self.nchans)
        mapped = np.memmap(self.path, self.dtype, "r", self.start + begin * self.size, shape)
        return mapped.astype(np.float32)


def open_filterbank(path: Path, growing: bool = False) -> Filterbank:
    """Open a ``.fil`` file of 8, 16 or 32 bits.

    Parameters
    ----------
    path : path
    growing : bool
        It is still written: the last spectrum may be there in part.

    Raises
    ------
    CorruptShardError
        If it is cut in its header or in a spectrum, or is no such file.
    ConfigError
        If it holds something that is not read here.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = _read_header(file, path)
            start = file.tell()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    found = Filterbank(path, header, start)
    for key in ("nchans", "nbits", "tsamp", "fch1", "foff"):
        if key not in header:
            raise CorruptShardError(f"{path}: the header has no {key}; is it a filterbank file?")
    if header["nbits"] not in _DTYPES or header["nchans"] < 1 or not header["foff"] or header["tsamp"] <= 0:
        told = ", ".join(f"{key} {header[key]}" for key in ("nbits", "nchans", "foff", "tsamp"))
        raise ConfigError(f"{path}: {told}: 8, 16 or 32 bits, and values that are not 0, are needed")
    if header.get("nifs", 1) != 1:
        raise ConfigError(f"{path}: nifs {header['nifs']}: add the polarizations to one first")
    left = (path.stat().st_size - start) % found.size
    if left and not growing:
        raise CorruptShardError(
            f"{path} is cut: {left} bytes of a spectrum of {found.size} at its end; copy it again, or cut them off: "
            f"truncate -s {path.stat().st_size - left} {path}"
        )
    return found


def _read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    if _text(file, path) != "HEADER_START":
        raise CorruptShardError(f"{path} is no filterbank file: it does not begin with HEADER_START")
    header: dict[str, Any] = {}
    while (key := _text(file, path)) != "HEADER_END":
        if key in _INTEGERS:
            header[key] = _number(file, "<i", path)
        elif key in _DOUBLES:
            header[key] = _number(file, "<d", path)
        elif key in _TEXTS:
            header[key] = _text(file, path)
        elif key == "signed":
            header[key] = _number(file, "<b", path)
        else:
            raise ConfigError(f"{path}: the header has {key!r}, which is not known: its length cannot be told")
    return header


def _number(file: BinaryIO, form: str, path: Path) -> Any:
    content = file.read(struct.calcsize(form))
    if len(content) < struct.calcsize(form):
        raise CorruptShardError(f"{path} is cut in its header, at byte {file.tell()}; copy it again")
    return struct.unpack(form, content)[0]


def _text(file: BinaryIO, path: Path) -> str:
    length = _number(file, "<i", path)
    if not 0 <= length <= _LONGEST:
        raise CorruptShardError(f"{path} is no filterbank file, or its header is damaged before byte {file.tell()}")
    content = file.read(length)
    if len(content) < length:
        raise CorruptShardError(f"{path} is cut in its header, at byte {file.tell()}; copy it again")
    return content.decode("latin-1")


def write_header(file: BinaryIO, header: Mapping[str, Any]) -> None:
    """Write a header; spectra follow it as they are."""

    def text(value: str) -> bytes:
        return struct.pack("<i", len(value)) + value.encode("latin-1")

    file.write(text("HEADER_START"))
    for key, value in header.items():
        if key in _TEXTS:
            file.write(text(key) + text(value))
        else:
            form = "<i" if key in _INTEGERS else "<b" if key == "signed" else "<d"
            file.write(text(key) + struct.pack(form, value))
    file.write(text("HEADER_END"))


def delays(frequencies: NDArray[np.float64], dm: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return by how many seconds each channel is later than the highest one.

    Parameters
    ----------
    frequencies : ndarray
        MHz, shape (C,).
    dm : ndarray or float
        Dispersion measures, pc/cm^3, shape (D,).

    Returns
    -------
    ndarray
        Shape (D, C), or (C,) for one measure.
    """
    ghz = frequencies / 1000
    slope = ghz**-2 - float(ghz.max()) ** -2
    return K_DM * np.multiply.outer(np.asarray(dm, np.float64), slope)


def dedisperse(
    power: NDArray[np.float32], frequencies: NDArray[np.float64], tsamp: float, dms: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Sum channels along the dispersion curves.

    Parameters
    ----------
    power : ndarray
        Shape (C, ..., T): channels first, time last; many windows at once in between.
    frequencies : ndarray
        MHz, shape (C,).
    tsamp : float
        Seconds.
    dms : ndarray
        pc/cm^3, shape (D,).

    Returns
    -------
    ndarray
        Float32, shape (D, ..., T - longest delay): times are those of the highest channel.
    """
    shifts = np.rint(delays(frequencies, dms) / tsamp).astype(int)
    count = power.shape[-1] - int(shifts.max(initial=0))
    if count < 1:
        raise ConfigError(
            f"{power.shape[-1]} spectra are fewer than the longest delay of {shifts.max()}: give more, or lower dms"
        )
    planes = np.zeros((len(dms), *power.shape[1:-1], count), np.float32)
    for number, row in enumerate(shifts):
        for channel, shift in zip(power, row, strict=True):
            planes[number] += channel[..., shift : shift + count]
    return planes


def scaled(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return planes (N, D, T) flipped, highest DM first, each scaled from its minimum and maximum to 0 and 255."""
    low = planes.min(axis=(1, 2), keepdims=True)
    span = np.maximum(planes.max(axis=(1, 2), keepdims=True) - low, np.finfo(np.float32).tiny)
    return np.rint((planes - low) / span * 255).astype(np.uint8)[:, ::-1]


def planes_of(
    found: Filterbank, dms: NDArray[np.float64], starts: Sequence[int], width: int, binning: int = 1
) -> NDArray[np.float32]:
    """Return the planes (N, D, width) of windows that begin at the given spectra, `binning` spectra per column."""
    longest = int(np.rint(delays(found.frequencies, dms) / found.tsamp).max())
    begin, end = min(starts), max(starts) + width * binning
    power = np.ascontiguousarray(found.read(begin, min(end + longest, len(found))).T)
    whole = dedisperse(power, found.frequencies, found.tsamp, dms)
    cut = [whole[:, start - begin : start - begin + width * binning] for start in starts]
    return np.stack(cut).reshape(len(starts), len(dms), width, binning).sum(axis=3)
