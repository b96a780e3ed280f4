"""Input that cannot be converted: an error that names the file, or left out, listed and counted."""

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFile

from shardwright.base.errors import IncompleteDatasetError, InputError, LimitError
from shardwright.base.images import to_pil
from shardwright.base.verify import verify
from shardwright.base.writing import pipeline
from shardwright.folders.source import FolderSource
from shardwright.tar.converter import TarConverter
from tests.conformance.tools import (
    KINDS,
    Store,
    encoded,
    files_of,
    hashes,
    make_folder,
    numbered,
    picture,
    same_as_numbered,
)

JPEG = encoded(picture(1, size=(40, 40)), "JPEG", quality=90)
PNG = encoded(picture(2, size=(40, 40)))
WEBP = encoded(picture(3, size=(40, 40)), "WEBP")
BAD: dict[str, bytes] = {
    "half.jpg": JPEG[: len(JPEG) // 2],
    "cut.jpg": JPEG[:-20],
    "zero.jpg": b"",
    "text.jpg": b"this is no image, but a letter",
    "half.png": PNG[: len(PNG) // 2],
    "cut.png": PNG[:-12],
    "header.png": PNG[:30],
    "half.webp": WEBP[: len(WEBP) // 2],
    "page.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "document.png": b"%PDF-1.7\n",
    "zeros.png": bytes(4096),
}


def add(folder: Path, name: str, data: bytes) -> Path:
    """Put a file between the good ones of the second class."""
    path = folder / "dog" / f"005-{name}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_stops_the_conversion_and_is_named(store: Store, tmp_path: Path, name: str):
    """Faults 1, 2, 4, 5, 125."""
    folder = make_folder(tmp_path / "in")
    add(folder, name, BAD[name])
    with pytest.raises(InputError, match=rf"^dog/005-{name}: .*on_error='skip'"):
        store.convert(folder, tmp_path / "out")
    with pytest.raises(IncompleteDatasetError):
        store.open(tmp_path / "out")
    assert not list((tmp_path / "out").glob("data/.*")), "temporary files are left"


def test_a_bad_first_image_is_named_and_nothing_is_written(store: Store, tmp_path: Path):
    folder = make_folder(tmp_path / "in")
    (folder / "cat" / "000.jpg").write_bytes(JPEG[:100])
    with pytest.raises(InputError, match=r"cat/000\.jpg"):
        store.convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_images_are_left_out_listed_and_counted(store: Store, tmp_path: Path, workers: int):
    """Faults 1, 4, 5: everything else is as if they had never been there."""
    folder = make_folder(tmp_path / "in")
    bad = [add(folder, name, BAD[name]) for name in ("half.jpg", "zero.jpg", "text.jpg", "half.png")]
    path = store.convert(folder, tmp_path / "out", on_error="skip", num_workers=workers, images_per_file=4)
    reader = store.open(path, check=True)
    good = [(file, label) for file, label in files_of(folder) if file not in bad]
    assert len(reader) == len(good) == 12
    assert reader.manifest.skipped == len(bad)
    for (image, label), (file, number) in zip(reader, good, strict=True):
        assert label == number
        assert np.array_equal(np.asarray(image), store.pixels(file.read_bytes())), file
    lines = [json.loads(line) for line in (path / "metadata" / "train.skipped.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == sorted(f"dog/{file.name}" for file in bad)
    order = [file for file, _ in files_of(folder)]
    assert [order[line["index"]].name for line in lines] == [line["name"].removeprefix("dog/") for line in lines]
    assert all(line["reason"] for line in lines)
    sums = {f"dog/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in bad}
    assert {line["name"]: line["sha256"] for line in lines} == sums


def test_skipping_gives_the_same_bytes_for_any_batches(store: Store, tmp_path: Path):
    """Faults 1, 49: also in shards that become shorter, or empty."""
    folder = make_folder(tmp_path / "in", 8, [("jpg", "JPEG", "RGB", {})])
    for name in ("000", "003", "006", "001"):
        for file in folder.rglob(f"{name}.jpg"):
            file.write_bytes(file.read_bytes()[:60])
    wanted = None
    for batch, per_file in ((1, 2), (2, 2), (100, 2)):
        path = store.convert(
            folder, tmp_path / f"out{batch}", on_error="skip", batch_size=batch, images_per_file=per_file
        )
        wanted = wanted or hashes(path)
        assert hashes(path) == wanted
    reader = store.open(path, check=True)
    assert len(reader) == 4
    assert len(list(reader)) == 4
    assert 0 in [shard.num_samples for shard in reader.manifest.shards]


def test_nothing_is_listed_where_nothing_was_skipped(store: Store, tmp_path: Path):
    good = make_folder(tmp_path / "in")
    path = store.convert(good, tmp_path / "out", on_error="skip")
    assert not (path / "metadata" / "train.skipped.jsonl").exists()
    assert store.open(path).manifest.skipped == 0


def test_more_skipped_than_allowed_is_an_error(store: Store, tmp_path: Path):
    folder = make_folder(tmp_path / "in")
    for number, name in enumerate(("half.jpg", "text.jpg")):
        add(folder, name, BAD[name])
        options = {"on_error": "skip", "images_per_file": 3}
        with pytest.raises(InputError, match=f"max_skipped={number}"):
            store.convert(folder, tmp_path / "out", max_skipped=number, **options)
        store.convert(folder, tmp_path / "out", max_skipped=number + 1, **options)
        shutil.rmtree(tmp_path / "out")


def test_samples_that_raise_are_skipped_too(store: Store, tmp_path: Path):
    """Faults 33, 34: whatever they raise, and whatever is wrong with their values."""

    class Bad:
        def __len__(self) -> int:
            return 9

        def __getitem__(self, index: int) -> object:
            if index == 2:
                raise SystemExit("out of patience")
            if index == 5:
                raise KeyError("gone")
            return numbered(9)[index] if index != 7 else (picture(7, size=(8, 12)), "seven")

    path = store.convert(Bad(), tmp_path / "out", on_error="skip")
    assert store.open(path).targets.tolist() == [0, 1, 3, 4, 6, 8]
    lines = [json.loads(line) for line in (path / "metadata" / "train.skipped.jsonl").read_text().splitlines()]
    assert [(line["index"], line["name"]) for line in lines] == [(n, f"sample {n}") for n in (2, 5, 7)]
    assert ["SystemExit" in lines[0]["reason"], "KeyError" in lines[1]["reason"]] == [True, True]


def test_input_without_any_good_sample_is_an_error(store: Store, tmp_path: Path):
    folder = make_folder(tmp_path / "in", 3)
    for file in folder.rglob("*.*"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="no sample"):
        store.convert(folder, tmp_path / "out", on_error="skip")
    assert not (tmp_path / "out").exists()


def test_the_users_switch_for_truncated_images_changes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Fault 3."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for number, name in enumerate(("half.jpg", "half.png", "half.webp")):
        folder = make_folder(tmp_path / f"in{number}")
        add(folder, name, BAD[name])
        with pytest.raises(InputError, match=name):
            store.convert(folder, tmp_path / f"out{number}")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_bomb_is_refused_before_it_is_decoded(store: Store, tmp_path: Path):
    """Fault 9: the header says how large it is."""
    body = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    header = struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    folder = make_folder(tmp_path / "in")
    add(folder, "bomb.png", PNG[:8] + header + PNG[33:])
    with pytest.raises(LimitError, match=r"bomb\.png.*400,000,000 pixels"):
        store.convert(folder, tmp_path / "out")


def test_a_file_that_changes_after_the_scan_is_named(store: Store, tmp_path: Path):
    """Fault 55."""
    folder = make_folder(tmp_path / "in", kinds=KINDS[:1])
    converter = store.converter(folder, tmp_path / "out")
    file = folder / "dog" / "004.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"dog/004\.jpg.*changed"):
        converter.convert()


def test_a_file_that_is_gone_is_named(store: Store, tmp_path: Path):
    """Fault 55."""
    folder = make_folder(tmp_path / "in")
    converter = store.converter(folder, tmp_path / "out")
    for file in list(folder.rglob("004.*")):
        file.unlink()
    with pytest.raises(InputError, match=r"dog/004.*No such file"):
        converter.convert()


def test_sources_are_never_changed(store: Store, tmp_path: Path):
    """The input is as it was, to the nanosecond, also where it cannot be converted."""
    folder = make_folder(tmp_path / "in")
    add(folder, "half.jpg", BAD["half.jpg"])
    before = {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.rglob("*")}
    contents = hashes(folder)
    store.convert(folder, tmp_path / "out", on_error="skip")
    assert hashes(folder) == contents
    assert {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: os.mkfifo(folder / "dog" / "pipe.jpg"),
        lambda folder: (folder / "dog" / "link.jpg").symlink_to("nowhere.jpg"),
    ],
    ids=["fifo", "dangling link"],
)
def test_what_can_never_be_read_is_told_at_construction(store: Store, tmp_path: Path, make: Callable[[Path], None]):
    """Fault 28: by the scan, before anything is written."""
    folder = make_folder(tmp_path / "in")
    make(folder)
    with pytest.raises(InputError, match=r"dog/(pipe|link)\.jpg"):
        store.converter(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_of_any_bytes_is_written_and_checked(store: Store, tmp_path: Path):
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff out\n"))
    reader = store.open(store.convert(numbered(3), out))
    assert same_as_numbered(list(reader), range(3))
    verify(out)


def test_names_of_any_bytes_go_through(store: Store, tmp_path: Path):
    """Faults 29, 30: blanks, quotes, line ends, bytes that are no UTF-8."""
    root = os.fsencode(tmp_path / "in")
    names = [b"with blank", b"quote\"'", b"line\nend", b"\xff\xfe", "Käse".encode()]
    for n, name in enumerate(names):
        os.makedirs(os.path.join(root, name))
        with open(os.path.join(root, name, b"im\xe4ge \n.png"), "wb") as file:
            file.write(encoded(picture(n, size=(8, 12))))
    reader = store.open(store.convert(os.fsdecode(root), tmp_path / "out"))
    assert len(reader) == len(reader.classes) == 5
    assert set(reader.classes) == {"with blank", "quote\"'", "line\nend", "\\xff\\xfe", "Käse"}
    order = sorted(names)
    for number, (image, label) in enumerate(reader):
        assert label == number
        assert np.array_equal(np.asarray(image), np.asarray(picture(names.index(order[number]), size=(8, 12))))


@pytest.mark.parametrize("name", ["zero.jpg", "text.jpg", "page.jpg", "document.png", "zeros.png"])
def test_what_begins_like_no_image_is_told_before_anything_is_written(tmp_path: Path, name: str) -> None:
    """Faults 4, 5: nobody waits for the shard that it would be in."""
    folder = make_folder(tmp_path / "images")
    add(folder, name, BAD[name])
    with pytest.raises(InputError, match=rf"^dog/005-{name}: .*on_error='skip'"):
        TarConverter(folder, tmp_path / "out", images_per_file=1, num_workers=0).convert()
    assert not (tmp_path / "out").exists()


def test_a_finished_split_is_confirmed_without_a_look_at_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    looks: list[str] = []
    monkeypatch.setattr(FolderSource, "check", lambda source: looks.append("look"))
    store, folder = Store("tar", tmp_path), make_folder(tmp_path / "in")
    for options, expected in (({}, 1), ({}, 1), ({"overwrite": True}, 2)):
        store.convert(folder, **options)
        assert len(looks) == expected


def add_animated(folder: Path) -> None:
    """Put four files among the others of which only the first frame is read."""
    frames = [picture(n) for n in range(3)]
    for name, kind in (("a.gif", "GIF"), ("b.png", "PNG"), ("c.tif", "TIFF"), ("d.webp", "WEBP")):
        add(folder, name, encoded(frames[0], kind, save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_images_that_are_read_with_a_warning_are_counted(store: Store, tmp_path: Path, num_workers: int):
    """Faults 10, 19, 20: in the manifest, beside what was ignored; the same in any number of shards."""
    folder = make_folder(tmp_path / "in")
    add_animated(folder)
    (folder / "notes.txt").write_text("no image")
    path = store.convert(folder, tmp_path / "out", num_workers=num_workers)
    assert store.open(path).manifest.ignored == {"animated: only the first frame is read": 4, "not an image": 1}


def test_warnings_of_the_others_are_counted_once_when_a_sample_fails(store: Store, tmp_path: Path):
    """A batch with a bad sample is packed anew, sample by sample and then without it."""
    folder = make_folder(tmp_path / "in")
    add_animated(folder)
    add(folder, "bad.png", PNG[:-12])
    manifest = store.open(store.convert(folder, tmp_path / "out", on_error="skip", batch_size=100)).manifest
    assert (manifest.ignored, manifest.skipped) == ({"animated: only the first frame is read": 4}, 1)


class StillImages(TarConverter):
    """A converter whose hook makes something else of the images."""

    def _custom_collate_fn(self, batch):
        return super()._custom_collate_fn([sample | {"image": to_pil(sample["image"], "RGB")} for sample in batch])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_warnings_are_counted_of_the_files_and_not_of_what_a_hook_makes_of_them(tmp_path: Path, num_workers: int):
    folder = make_folder(tmp_path / "in")
    add_animated(folder)
    manifest = StillImages(folder, tmp_path / "out", images_per_file=3, num_workers=num_workers).convert()
    assert manifest is not None
    assert manifest.ignored == {"animated: only the first frame is read": 4}


def test_the_header_of_an_image_that_is_stored_as_it_is_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """For the warning too: it travels with the packed image."""
    again: list[bytes] = []
    monkeypatch.setattr(pipeline, "image_warning", again.append)
    folder = make_folder(tmp_path / "in")
    add_animated(folder)
    manifest = TarConverter(folder, tmp_path / "out", num_workers=0).convert()
    assert manifest is not None
    assert manifest.ignored == {"animated: only the first frame is read": 4}
    assert not again


@pytest.mark.parametrize(("name", "layout"), [("memmap", "NHWC"), ("memmap", "NCHW"), ("hdf5", "NHWC")])
def test_without_a_shape_an_image_of_another_size_is_an_error_and_is_not_resized(
    tmp_path: Path, name: str, layout: str
) -> None:
    pictures = [picture(0, size=(20, 30)), picture(1, size=(20, 30)), picture(2, size=(30, 20))]
    store = Store(name, tmp_path, {"shape": None, "layout": layout})
    with pytest.raises(InputError, match=r"sample 2: .*'image': is \d+x\d+ pixels, the first sample's .* give shape="):
        store.convert(pictures)
    whole = store.open(store.convert(pictures, "skipped", on_error="skip"))
    assert len(whole) == 2
    assert np.array_equal(np.asarray(whole[1]), np.asarray(pictures[1]))
    assert len(store.open(store.convert(pictures, "resized", shape=(20, 30)))) == 3
