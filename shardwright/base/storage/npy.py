"""The header of an .npy file, which makes raw values an array: written, and read from files of others."""

import io
import tokenize
from typing import IO, Any

import numpy as np

from shardwright.base.errors import InputError, UnsafeDataError

__all__ = ["MAX_HEADER", "npy_header", "read_npy_header"]

MAX_HEADER = 2**16  # bytes; more than the header of any array of numbers takes
# What NumPy's parser lets through of a damaged header.
_ERRORS = (
    *(ValueError, TypeError, KeyError, SyntaxError, OverflowError),
    *(RecursionError, MemoryError, tokenize.TokenError),
)


def npy_header(dtype: Any, shape: tuple[int, ...]) -> bytes:
    """Return the bytes that make raw C-order values of `dtype` and `shape` an .npy file."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


def read_npy_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the order is Fortran's, and dtype; the file then stands at the first value."""
    reads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in reads:
            raise InputError(f"{name}: .npy version {version} is for tables, not for plain arrays")
        shape, fortran, dtype = reads[version](file, max_header_size=MAX_HEADER)
    except InputError:
        raise
    except _ERRORS as error:
        raise InputError(f"{name}: the .npy header is damaged ({error}); make or copy it again") from error
    if dtype.hasobject:
        raise UnsafeDataError(
            f"{name} holds Python objects (dtype {dtype}), which are never unpickled: "
            "save it again with a number or string dtype, for example array.astype('uint8') or array.astype(str)"
        )
    if not shape or any(type(n) is not int or n < 0 for n in shape):
        raise InputError(f"{name} has shape {shape}: the first axis counts the samples")
    return shape, fortran, dtype
