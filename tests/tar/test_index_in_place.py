"""Tar files: members that are no samples, sizes that are forged, archives that are damaged."""

import tarfile
from pathlib import Path

import pytest

from shardwright.base.errors import CorruptShardError, InputError, UnsafeDataError
from shardwright.base.index_files import index_files
from shardwright.base.reader import open_reader
from tests.base.index_files.files import PNGS, refused, write_tar


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_regular_members_are_samples(kind: bytes, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.png", PNGS[0])])
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("1.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    manifest = index_files(path)
    assert (manifest.num_samples, manifest.ignored) == (1, {"link, device or sparse file": 1})


def test_members_that_would_be_unpickled_elsewhere_are_bytes(tmp_path: Path) -> None:
    members = [("0.png", PNGS[0]), ("0.pyd", b"cos\nabort\n(tR."), ("0.txt", b"\xff"), ("0.json", b"[" * 10**5)]
    index_files(write_tar(tmp_path / "a.tar", members))
    sample = open_reader(tmp_path)[0]
    assert (sample["pyd"], sample["txt"]) == (members[1][1], b"\xff")
    assert sample["json"] == members[3][1]


def patched(path: Path, at: int, content: bytes) -> Path:
    """Change a tar header, and make its checksum fit."""
    data = bytearray(path.read_bytes())
    start = at // 512 * 512
    data[at : at + len(content)] = content
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"g"])
@pytest.mark.parametrize("size", [b"\xff" * 12, b"\xff" * 10 + b"\xfe\x00", b"\x80" + b"\x7f" * 11, b"77777777777\0"])
def test_forged_sizes_end_in_an_error(kind: bytes, size: bytes, tmp_path: Path) -> None:
    """Fault 116."""
    path = write_tar(tmp_path / "a.tar", [("0.png", PNGS[0]), ("1.png", PNGS[1])])
    second = 512 + -(-len(PNGS[0]) // 512) * 512
    patched(path, second + 156, kind)
    patched(path, second + 124, size)
    with pytest.raises((InputError, UnsafeDataError, CorruptShardError)):
        index_files(path)


def test_tar_that_is_damaged_joined_compressed_or_no_webdataset_is_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.png", PNGS[0]), ("1.png", PNGS[1])])
    good = path.read_bytes()
    second = 512 + -(-len(PNGS[0]) // 512) * 512
    for data, match in (
        (good[: second + 3] + b"!" + good[second + 4 :], "damaged there"),
        (good + good, "joined of several"),
        (good[:700], "damaged"),
        (b"\x1f\x8b" + good, "gunzip"),
        (b"", "damaged"),
    ):
        path.write_bytes(data)
        refused(path, InputError, match)
    twice = [("0.png", PNGS[0]), ("0.cls", b"1"), ("0.png", PNGS[0])]
    refused(write_tar(path, twice), InputError, "two members")
    apart = [("0.txt", b"x"), ("0.cls", b"1"), ("1.json", b"1"), ("README.md", b"#")]
    refused(write_tar(path, apart), InputError, "nothing is in every one")
