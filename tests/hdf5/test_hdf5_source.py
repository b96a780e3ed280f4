"""HDF5 files that ask for more than themselves, lack data, or begin with a user block."""

import h5py
import pytest

from shardwright.arrays.files import member_names, open_rows
from shardwright.base.errors import ConfigError, InputError, LimitError, UnsafeDataError
from shardwright.base.open_source import open_source
from tests.arrays.files import rows_equal, values, write_h5


def test_hdf5_cannot_reach_outside_of_itself(tmp_path):
    """Fault 117: links and external storage would hand out other files of the host."""
    (tmp_path / "secret").write_bytes(bytes(range(48)))
    write_h5(tmp_path / "other.h5", values())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("outside", (3, 4, 4), "|u1", external=[(str(tmp_path / "secret"), 0, 48)])
        file["link"] = h5py.ExternalLink("other.h5", "group/images")
        file["soft"] = h5py.SoftLink("/outside")
        layout = h5py.VirtualLayout((20, 6, 5), "|u1")
        layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "group/images", (20, 6, 5))
        file.create_virtual_dataset("virtual", layout)
    assert member_names(tmp_path / "a.h5") == ["outside", "virtual"]
    for member in ("outside", "virtual"):
        with pytest.raises(UnsafeDataError, match="takes its values from other files"):
            open_rows(tmp_path / "a.h5", member)
    for member in ("link", "soft"):
        with pytest.raises(ConfigError, match="no array"):
            open_rows(tmp_path / "a.h5", member)


def test_hdf5_needs_no_plugin_and_no_giant_chunk(tmp_path):
    """Faults 117, 118."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 4, 4))
        plist.set_filter(305, h5py.h5z.FLAG_OPTIONAL, ())
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple((3, 4, 4)), plist)
    with pytest.raises(UnsafeDataError, match="needs the HDF5 filter 305"):
        open_rows(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", (2**20, 64, 64), "|u1", chunks=(2**19, 64, 64), compression="gzip")
    with pytest.raises(LimitError, match="has chunks of 2147483648 bytes"):
        open_rows(tmp_path / "b.h5")


def test_hdf5_that_was_not_written_to_the_end_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunked = file.create_dataset("chunked", (10, 4, 4), "|u1", chunks=(2, 4, 4))
        chunked[:4] = 1
        file.create_dataset("contiguous", (10, 4, 4), "|u1")
        file["scalar"] = 3
    with pytest.raises(InputError, match="has 2 of its 5 chunks"):
        open_rows(tmp_path / "a.h5", "chunked")
    with pytest.raises(InputError, match="never written to the end"):
        open_rows(tmp_path / "a.h5", "contiguous")
    with pytest.raises(InputError, match="is a single value"):
        open_rows(tmp_path / "a.h5", "scalar")


def test_hdf5_with_a_user_block_and_tiny_data(tmp_path):
    array = values((4, 3, 2))
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["x"] = array
    assert rows_equal(open_rows(tmp_path / "a.h5"), array)


@pytest.mark.parametrize("how", [{}, {"chunks": (7,)}, {"chunks": (7,), "compression": "gzip", "shuffle": True}])
def test_strings_of_any_length_are_read(tmp_path, how):
    texts = ["", "é", "x" * 70_000, *(f"number {n}" * (n % 5) for n in range(30))]
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file.create_dataset("x", data=texts, **how)
    rows = open_rows(tmp_path / "a.h5", "x")
    assert [text.decode() for text in rows.read(0, len(rows)).tolist()] == texts


def test_a_damaged_heap_of_strings_ends_in_an_error(tmp_path):
    """Fault 126: HDF5 itself may go round in circles in it."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = values((6, 4, 4)), ["a", "bb", "ccc", "a", "bb", "ccc"]
    good = path.read_bytes()
    heap, refused = good.index(b"GCOL"), 0
    for place in range(heap, heap + 64):
        for byte in (0, 1, 255):
            path.write_bytes(good[:place] + bytes([byte]) + good[place + 1 :])
            try:
                assert len(open_source(path)) == 6
            except InputError:
                refused += 1
    assert refused > 20
