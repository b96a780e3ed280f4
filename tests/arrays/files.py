"""Arrays, and the files of every kind that the tests write them to."""

import gzip
import struct

import h5py
import numpy as np

IDX_CODES = {"|u1": 0x08, "|i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def values(shape=(20, 6, 5), dtype="|u1"):
    """Different values everywhere, so that a moved one is seen."""
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


def write_npy(path, array):
    np.save(path, array)


def write_npz(path, array):
    np.savez(path, x=array)


def write_npz_compressed(path, array):
    np.savez_compressed(path, x=array)


def write_h5(path, array, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("group/images", data=array, **options)


def write_h5_chunked(path, array):
    chunks = (3, *(max(1, n // 2) for n in array.shape[1:]))
    write_h5(path, array, chunks=chunks, compression="gzip", shuffle=True, fletcher32=True)


def idx_bytes(array):
    array = np.ascontiguousarray(array, array.dtype.newbyteorder(">"))
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, IDX_CODES[array.dtype.str], array.ndim, *array.shape)
    return head + array.tobytes()


def write_idx(path, array):
    path.write_bytes(idx_bytes(array))


def write_idx_gz(path, array):
    path.write_bytes(gzip.compress(idx_bytes(array)))


WRITERS = {
    "a.npy": write_npy,
    "a.npz": write_npz,
    "c.npz": write_npz_compressed,
    "a.h5": write_h5,
    "c.hdf5": write_h5_chunked,
    "a-idx3-ubyte": write_idx,
    "b-idx3-ubyte.gz": write_idx_gz,
}


def rows_equal(rows, array):
    assert rows.shape == array.shape
    assert rows.dtype == array.dtype.newbyteorder("=")
    order = [*range(len(array)), 0, len(array) - 1, 2]
    return all(rows.read(i, i + 1)[0].tobytes() == array[i].astype(rows.dtype).tobytes() for i in order)


def header(descr="'|u1'", shape="(2, 3, 3)", fortran="False"):
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
