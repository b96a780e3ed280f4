"""Folders of images: what is a sample, what is left out, what is refused at once."""

import os
import pickle
import random
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from shardwright.base.errors import InputError
from shardwright.base.images.probe import is_image_start
from shardwright.base.open_source import open_source
from shardwright.folders.files import PackedNames, PathSource, list_of
from shardwright.folders.source import FolderSource

REPOSITORY = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def make(root, *paths, data=PNG):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return root


def names(source):
    return [source.name(i) for i in range(len(source))]


def labels(source):
    return [source[i]["label"] for i in range(len(source))]


def test_samples_are_the_untouched_bytes_with_the_number_of_their_class(tmp_path):
    make(tmp_path, "dog/b.png")
    make(tmp_path, "cat/a.JPG", data=b"not even an image")
    source = FolderSource(tmp_path)
    first, second = source[0], source[1]
    assert (first["image"].data, first["image"].name, first["label"]) == (
        b"not even an image",
        "a.JPG",
        0,
    )
    assert (second["image"].data, second["image"].name, second["label"]) == (PNG, "b.png", 1)
    assert type(first["label"]) is int
    assert source.fields["label"].kind == "class_label"
    assert source.fields["label"].names == ("cat", "dog")
    assert "image" not in source.fields
    assert source.sample_type == "tuple"
    assert source.ignored == {}


def test_order_and_labels_are_those_of_imagefolder(tmp_path):
    make(tmp_path, "a/z.png", "a/n/1.png", "a/n-x/1.png", "a-b/1.png", "B/1.png", "B/n/n/0.png")
    source, folder = FolderSource(tmp_path), ImageFolder(tmp_path)
    assert names(source) == [os.path.relpath(path, tmp_path) for path, _ in folder.samples]
    assert labels(source) == folder.targets
    assert list(source.fields["label"].names) == folder.classes


def test_images_without_class_folders_have_no_label(tmp_path):
    source = FolderSource(make(tmp_path, "b.png", "a.png", ".cache/c.png"))
    assert names(source) == ["a.png", "b.png"]
    assert source[0].keys() == {"image"}
    assert source.fields == {}
    assert source.ignored == {"hidden": 1}
    assert source.content()["classes"] is None


@pytest.mark.parametrize("name", ["photo", "a.JPG", "a.Jpeg", "a.jp2", "a.data", "jpg"])
def test_images_are_found_by_name_or_by_content(tmp_path, name):
    """Fault 22."""
    assert names(FolderSource(make(tmp_path, f"cat/{name}"))) == [f"cat/{name}"]


@pytest.mark.parametrize(
    ("head", "image"),
    [
        (b"\xff\xd8\xff\xe0", True),
        (b"GIF89a", True),
        (b"II*\0", True),
        (b"MM\0*", True),
        (b"RIFF\x10\0\0\0WEBPVP8 ", True),
        (b"RIFF\x10\0\0\0WAVEfmt ", False),
        (b"BM\x46\0\0\0\0\0\0\0\x36", True),
        (b"BMW, Audi, Volvo", False),
        (b"P6\n3 2\n255\n", True),
        (b"P5 # made", True),
        (b"P5 is a text", False),
        (b"\0\0\0\x0cjP  \r\n\x87\n", True),
        (b"\xff\x4f\xff\x51", True),
        (b"", False),
        (b"P", False),
    ],
)
def test_first_bytes_tell_an_image_from_text(head, image):
    assert is_image_start(head) is image


def test_what_is_no_image_is_counted(tmp_path):
    """Faults 23 and 24."""
    make(tmp_path, "cat/a.png", ".ipynb_checkpoints/b.png", "cat/.DS_Store", "stray.png")
    make(tmp_path, "cat/notes.txt", "cat/Thumbs.db", "readme.md", data=b"some words")
    source = FolderSource(tmp_path)
    assert names(source) == ["cat/a.png"]
    assert source.fields["label"].names == ("cat",)
    assert source.ignored == {
        "hidden": 2,
        "image outside any class folder": 1,
        "not an image": 3,
    }


def test_an_empty_class_keeps_its_number_and_is_reported(tmp_path):
    """Fault 25."""
    make(tmp_path, "a/1.png", "c/1.png")
    make(tmp_path, "b/words.txt", data=b"words")
    source = FolderSource(tmp_path)
    assert labels(source) == [0, 2]
    assert source.fields["label"].names == ("a", "b", "c")
    assert source.ignored == {"empty class folder: b": 0, "not an image": 1}


def test_a_root_without_images_is_refused(tmp_path):
    """Fault 26."""
    with pytest.raises(InputError, match=r"no images.*looked for jpg, jpeg, .*found nothing"):
        FolderSource(tmp_path)
    make(tmp_path, "cat/words.txt", data=b"words")
    with pytest.raises(InputError, match=r"any of its 1 class folders.*not an image: 1"):
        FolderSource(tmp_path)
    with pytest.raises(InputError, match=r"words\.txt is a file: give a folder"):
        FolderSource(tmp_path / "cat/words.txt")
    with pytest.raises(InputError, match="absent does not exist: give a folder"):
        FolderSource(tmp_path / "absent")


@pytest.mark.parametrize("target", ["..", ".", "../../root", "../dog"])
def test_a_link_loop_is_read_once_and_reported(tmp_path, target):
    """Fault 27."""
    root = make(tmp_path / "root", "cat/a.png", "dog/b.png")
    (root / "cat/link").symlink_to(target)
    source = FolderSource(root)
    assert names(source) == ["cat/a.png", "dog/b.png"]
    assert source.ignored == {"link to a folder that is read already: cat/link": 1}


def test_a_class_that_is_a_link_to_another_class_is_read_once(tmp_path):
    """Fault 27."""
    make(tmp_path, "dog/a.png")
    (tmp_path / "cat").symlink_to("dog")
    source = FolderSource(tmp_path)
    assert names(source) == ["dog/a.png"]
    assert labels(source) == [1]
    assert source.ignored == {
        "empty class folder: cat": 0,
        "link to a folder that is read already: cat": 1,
    }


def test_links_to_folders_and_files_elsewhere_are_followed(tmp_path):
    make(tmp_path / "other", "x/1.png", "2.png")
    root = make(tmp_path / "root", "dog/a.png")
    (root / "cat").symlink_to(tmp_path / "other/x")
    (root / "dog/b.png").symlink_to(tmp_path / "other/2.png")
    source = FolderSource(root)
    assert names(source) == ["cat/1.png", "dog/a.png", "dog/b.png"]
    assert source[2]["image"].data == PNG
    assert source.ignored == {}


def dangling(path):
    path.symlink_to("nowhere")


def self_link(path):
    path.symlink_to(path.name)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(path.parent, os.O_RDONLY)
        try:  # by way of /proc: the name of a socket must be short
            listener.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


def device(path):
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (dangling, "a link to nowhere, No such file"),
        (self_link, r"a link to bad\.png, Too many levels"),
        (os.mkfifo, "FIFO, socket or device"),
        (bound_socket, "FIFO, socket or device"),
        (device, "FIFO, socket or device"),
    ],
)
@pytest.mark.parametrize("name", ["cat/bad.png", "bad.png"])
def test_what_is_no_file_is_refused_before_anything_is_read(tmp_path, put, reason, name):
    """Fault 28."""
    make(tmp_path, "cat/a.png")
    put(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name} cannot be read: .*{reason}"):
        FolderSource(tmp_path)


@pytest.fixture
def open_folder():
    """A folder that every user may enter, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def no_root():
    """Whoever runs the tests, file permissions count for him."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.parametrize("name", ["cat/bad.png", "cat/bad.txt", "cat", "dog"])
def test_what_may_not_be_read_is_refused_before_anything_is_read(open_folder, request, name):
    """Fault 28."""
    make(open_folder, "cat/a.png", "cat/bad.png", "cat/bad.txt", "dog/b.png")
    (open_folder / name).chmod(0o000)
    request.getfixturevalue("no_root")
    with pytest.raises(InputError, match=rf"/{name} cannot be read: .*[Pp]ermission denied"):
        FolderSource(open_folder)


def test_a_folder_that_may_be_listed_but_not_entered_is_refused(open_folder, request):
    """Fault 28."""
    make(open_folder, "cat/a.png")
    (open_folder / "cat").chmod(0o444)
    request.getfixturevalue("no_root")
    with pytest.raises(InputError, match=r"cat/a\.png cannot be read: Permission denied"):
        FolderSource(open_folder)


ODD_NAMES = [
    "a b.png",
    "new\nline.png",
    "quo'te\".png",
    "back\\slash.png",
    "caf\u00e9.png",
    "100%.png",
]


def test_odd_names_are_read_and_named(tmp_path):
    """Fault 29."""
    make(tmp_path, *(f"c l/{name}" for name in ODD_NAMES))
    source = FolderSource(tmp_path)
    assert names(source) == sorted(f"c l/{name}" for name in ODD_NAMES)
    assert [source[i]["image"].name for i in range(len(source))] == sorted(ODD_NAMES)


def test_names_that_are_equal_in_nfc_are_all_kept_and_reported(tmp_path):
    """Fault 29."""
    one, two = "caf\u00e9.png", "cafe\u0301.png"
    kelvin, letter = "\u212a.png", "K.png"
    make(tmp_path, *(f"cat/{name}" for name in (one, two, kelvin, letter)), f"dog/{one}")
    source = FolderSource(tmp_path)
    assert len(source) == 5
    note = "kept, though another name looks the same (Unicode NFC): cat/"
    assert source.ignored == {note + name: 0 for name in (one, two, kelvin)}


def test_a_folder_of_images_with_a_link_to_itself_has_an_empty_class(tmp_path):
    """Fault 27."""
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "again").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"no images in any of its 1 class folders.*outside any class folder: 1"):
        FolderSource(tmp_path)


def test_names_that_are_not_utf8_are_read_and_shown_as_utf8(tmp_path):
    """Fault 30."""
    root = os.fsencode(tmp_path)
    os.mkdir(root + b"/caf\xe9")
    Path(os.fsdecode(root + b"/caf\xe9/\xff.png")).write_bytes(PNG)
    source = FolderSource(tmp_path)
    assert source[0]["image"].data == PNG
    shown = [source.name(0), source[0]["image"].name, *source.fields["label"].names]
    assert shown == ["caf\\xe9/\\xff.png", "\\xff.png", "caf\\xe9"]
    os.mkdir(root + b"/caf\\xe9")
    with pytest.raises(InputError, match="two class folders shown as"):
        FolderSource(tmp_path)


def test_errors_about_names_that_are_not_utf8_are_utf8(tmp_path):
    """Fault 30."""
    make(tmp_path, "cat/a.png")
    os.symlink(b"\xfe", os.fsencode(tmp_path) + b"/cat/\xff.png")
    with pytest.raises(InputError, match="cat") as caught:
        FolderSource(tmp_path)
    assert "\\xff.png" in str(caught.value).encode("utf-8").decode()


@pytest.mark.parametrize("count", [256, 257])
def test_many_classes_keep_their_numbers(tmp_path, count):
    """Fault 31."""
    source = FolderSource(make(tmp_path, *(f"{i:05d}/a.png" for i in range(count))))
    assert labels(source) == list(range(count))
    assert source.content()["classes"] == count


def test_more_classes_than_two_bytes_count(tmp_path):
    """Fault 31."""
    make(tmp_path, "a.png")
    count, ones = 70_000, np.ones(70_000, np.int64)
    files = list_of(
        PackedNames([b"a.png"] * count),
        ones * len(PNG),
        ones,
        labels=np.arange(count),
        classes=tuple(str(i) for i in range(count)),
    )
    source = PathSource(os.fsencode(tmp_path), files)
    assert labels(source) == list(range(count))
    assert len(source.fields["label"].names) == count


def test_a_rank_that_misses_one_file_sees_another_input(tmp_path):
    """Fault 76."""
    whole = FolderSource(make(tmp_path, "cat/a.png", "cat/b.png"))
    (tmp_path / "cat/b.png").unlink()
    part = FolderSource(tmp_path)
    assert part.content()["digest"] != whole.content()["digest"]
    assert part.state() != whole.state()


class ShuffledScan:
    """`os.scandir` as another machine's file system might order it."""

    def __init__(self, path, scandir=os.scandir):
        with scandir(path) as entries:
            self.entries = list(entries)
        random.shuffle(self.entries)

    def __enter__(self):
        return iter(self.entries)

    def __exit__(self, *args):
        return None


def test_order_does_not_depend_on_the_order_of_the_file_system(tmp_path, monkeypatch):
    """Fault 77."""
    make(tmp_path, *(f"{c}/{d}{i}.png" for c in "zaB" for d in ("", "n/") for i in range(9)))
    want = FolderSource(tmp_path)
    monkeypatch.setattr(os, "scandir", ShuffledScan)
    for _ in range(3):
        source = FolderSource(tmp_path)
        assert names(source) == names(want)
        assert labels(source) == labels(want)
        assert source.state() == want.state()


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "en_US.ISO-8859-1"])
def test_order_does_not_depend_on_the_locale(tmp_path, locale):
    """Fault 77."""
    make(tmp_path, *(f"{c}/1.png" for c in ("b", "A", "a", "\u00e9", "z", "\u4e2d")))
    code = (
        "import sys; from shardwright.folders.source import FolderSource as F; s = F(sys.argv[1]); "
        "print(ascii(s.fields['label'].names), s.content()['digest'])"
    )
    # UTF-8 mode and locale coercion off: Python must take the locale as it is.
    env = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = [sys.executable, "-c", code, str(tmp_path)]
    out = subprocess.run(run, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    source = FolderSource(tmp_path)
    assert source.fields["label"].names == ("A", "a", "b", "z", "\u00e9", "\u4e2d")
    want = f"{source.fields['label'].names!a} {source.content()['digest']}"
    assert out.stdout.strip() == want


@pytest.mark.parametrize("data", [PNG + b"more", PNG[:-1], b""])
def test_a_file_that_changed_its_size_is_refused(tmp_path, data):
    source = FolderSource(make(tmp_path, "cat/a.png"))
    make(tmp_path, "cat/a.png", data=data)
    with pytest.raises(InputError, match=r"cat/a\.png has changed: it had 16 bytes"):
        source[0]


def test_a_fifo_in_the_place_of_a_file_does_not_hang(tmp_path):
    source = FolderSource(make(tmp_path, "cat/a.png"))
    (tmp_path / "cat/a.png").unlink()
    os.mkfifo(tmp_path / "cat/a.png")
    with pytest.raises(InputError, match="has changed"):
        source[0]


def test_a_read_that_returns_in_parts_is_put_together(tmp_path, monkeypatch):
    data = PNG + bytes(range(256))
    source = FolderSource(make(tmp_path, "cat/a.png", data=data))
    read = os.read
    monkeypatch.setattr(os, "read", lambda handle, size: read(handle, min(size, 100)))
    assert source[0]["image"].data == data


def test_content_is_the_same_elsewhere_and_differs_with_names_and_sizes(tmp_path):
    paths = ("cat/a.png", "dog/b.png")
    content = FolderSource(make(tmp_path / "one", *paths)).content()
    assert content.keys() == {"num_samples", "classes", "digest"}
    assert FolderSource(make(tmp_path / "two", *paths)).content() == content
    others = [
        make(tmp_path / "name", "cat/a.png", "dog/c.png"),
        make(tmp_path / "size", *paths, data=PNG + b"x"),
    ]
    digests = {FolderSource(root).content()["digest"] for root in others}
    assert len(digests | {content["digest"]}) == 3


def test_content_tells_where_one_name_ends(tmp_path):
    one = FolderSource(make(tmp_path / "one", "a", "bb"))
    two = FolderSource(make(tmp_path / "two", "ab", "b"))
    assert one.content()["digest"] != two.content()["digest"]


def test_state_changes_with_the_time_of_a_file(tmp_path):
    source = FolderSource(make(tmp_path, "cat/a.png"))
    assert FolderSource(tmp_path).state() == source.state()
    os.utime(tmp_path / "cat/a.png", ns=(1, 1))
    later = FolderSource(tmp_path)
    assert later.state() != source.state()
    assert later.content() == source.content()


def test_a_relative_root_holds_after_chdir_and_pickling(tmp_path, monkeypatch):
    """Fault 43, for the input."""
    make(tmp_path / "root", "cat/a.png")
    monkeypatch.chdir(tmp_path)
    source = FolderSource("root")
    monkeypatch.chdir("/")
    copy = pickle.loads(pickle.dumps(source))
    assert copy[0]["image"].data == PNG
    assert (names(copy), copy.state()) == (names(source), source.state())


def test_the_pickle_grows_by_path_and_numbers_only(tmp_path):
    make(tmp_path, *(f"cat/{i:08d}.png" for i in range(300)))
    make(tmp_path / "more", *(f"cat/{i:08d}.png" for i in range(1300)))
    sizes = [len(pickle.dumps(FolderSource(p))) for p in (tmp_path / "more", tmp_path)]
    per_sample = (sizes[0] - sizes[1]) / 1000
    assert per_sample <= 3 * 8 + len("cat/00000000.png") + 5


def test_packed_names_are_the_names():
    packed = PackedNames([b"a", b"", b"bc\0d"])
    assert list(packed) == [packed[i] for i in range(len(packed))] == [b"a", b"", b"bc\0d"]
    assert list(PackedNames()) == []
    with pytest.raises(IndexError):
        packed[3]


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_open_source_takes_a_folder(tmp_path, kind):
    make(tmp_path, "cat/a.png", "metadata/a.png", "metadata/.plan.json")
    if kind is os.fsencode:
        with pytest.raises(InputError, match="bytes; give the path of a folder"):
            open_source(kind(tmp_path))
    else:
        assert names(open_source(kind(tmp_path))) == ["cat/a.png", "metadata/a.png"]


def test_open_source_refuses_a_file(tmp_path):
    make(tmp_path, "a.png")
    with pytest.raises(InputError, match=r"a\.png is a file: give a folder"):
        open_source(tmp_path / "a.png")


def test_real_images_are_read_as_they_are():
    root = REPOSITORY.parent / "shared/data/imagenet-sample"
    if not root.is_dir():
        pytest.skip("the sample of ImageNet is not beside the repository")
    source, folder = FolderSource(root), ImageFolder(root)
    assert labels(source) == folder.targets
    for index, (path, _) in enumerate(folder.samples):
        assert source[index]["image"].data == Path(path).read_bytes()
