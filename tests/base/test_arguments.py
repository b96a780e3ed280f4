"""Wrong arguments: an error at construction that says how to mend it, and nothing on disk."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.multiprocessing

from shardwright.base.errors import (
    ConfigError,
    DistributedError,
    InputError,
    OutputExistsError,
    ShardwrightError,
)
from shardwright.base.fields import Field
from shardwright.base.formats import get_format
from shardwright.base.reader import open_reader
from shardwright.base.verify import verify
from tests.conformance.tools import Store, hashes, make_folder, numbered, picture

WRONG: list[tuple[dict[str, Any], str]] = [
    *(({"images_per_file": value}, "images_per_file") for value in (0, -1, 1.5, True, "8", None, float("nan"))),
    *(({"batch_size": value}, "batch_size") for value in (0, -7, 2.0, False, "32")),
    *(({"num_workers": value}, "num_workers") for value in (-1, 0.5, "4", True)),
    *(({"split": value}, "split") for value in ("", "a/b", "..", "tr ain", "train.json", ".hidden", None, 3, "x" * 65)),
    ({"encoding": "bmp"}, "'png', 'jpeg', 'webp'"),
    ({"encoding": "jpeg", "quality": 0}, "quality"),
    ({"encoding": "jpeg", "quality": 101}, "quality"),
    ({"encoding": "webp", "quality": "high"}, "quality"),
    ({"quality": 90}, "encoding='jpeg'"),
    ({"on_error": "ignore"}, "'raise', 'skip'"),
    ({"max_skipped": -1}, "max_skipped"),
    ({"rank": 1}, "both or neither"),
    ({"num_replicas": 2}, "both or neither"),
    ({"rank": 2, "num_replicas": 2}, "ranks go from 0 to 1"),
    ({"rank": -1, "num_replicas": 2}, "ranks go from 0 to 1"),
    ({"rank": "0", "num_replicas": 2}, "whole numbers"),
    ({"rank": 0, "num_replicas": 0}, "rank 0 of 0"),
]
WRONG_FIXED: list[tuple[dict[str, Any], str]] = [
    *(({"shape": value}, "shape") for value in (224, (224,), (1, 2, 3), (0, 5), (5, -1), (2.5, 3), "ab", ("8", "8"))),
    ({"im_mode": "HSV"}, "'L', 'RGB', 'RGBA', 'I;16'"),
    ({"im_mode": "rgb"}, "'RGB'"),
    ({"im_mode": None}, "im_mode"),
    ({"layout": "CHW"}, "'NHWC', 'NCHW'"),
]


def refuse(store: Store, folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        store.converter(numbered(2), folder / "out", **options)
    assert os.listdir(folder) == []


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_options_of_all_converters(store: Store, tmp_path: Path, options: dict[str, Any], message: str):
    """Faults 38, 41, 45."""
    refuse(store, tmp_path, options, message)


@pytest.mark.parametrize(("options", "message"), WRONG_FIXED)
@pytest.mark.parametrize("name", ["memmap", "hdf5"])
def test_wrong_options_of_fixed_sizes(name: str, tmp_path: Path, options: dict[str, Any], message: str):
    """Fault 41."""
    refuse(Store(name, tmp_path), tmp_path, options, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"compression": "lzf"}, "'gzip'"), ({"compression_level": 0}, "1 to 9"), ({"compression_level": 10}, "1 to 9")],
)
def test_wrong_options_of_hdf5(tmp_path: Path, options: dict[str, Any], message: str):
    refuse(Store("hdf5", tmp_path), tmp_path, options, message)


@pytest.mark.parametrize("option", ["shap", "image_per_file", "workers"])
def test_options_that_do_not_exist(store: Store, tmp_path: Path, option: str):
    with pytest.raises(TypeError, match=option):
        store.converter(numbered(2), tmp_path / "out", **{option: 1})
    assert os.listdir(tmp_path) == []


def test_numpy_integers_are_numbers(store: Store, tmp_path: Path):
    path = store.convert(numbered(3), tmp_path / "out", images_per_file=np.int64(2), batch_size=np.uint8(2))
    assert len(store.open(path)) == 3
    assert store.convert(numbered(3), tmp_path / "out", images_per_file=2)


@pytest.mark.parametrize("place", ["same", "output inside", "input inside", "dots", "link"])
def test_input_and_output_in_one_another(store: Store, tmp_path: Path, place: str):
    """Fault 42."""
    folder = make_folder(tmp_path / "in", 3)
    (tmp_path / "link").symlink_to(folder)
    source, output = {
        "same": (folder, folder),
        "output inside": (folder, folder / "cat" / "out"),
        "input inside": (folder / "cat", folder),
        "dots": (folder, tmp_path / "other" / ".." / "in" / "out"),
        "link": (folder, tmp_path / "link" / "out"),
    }[place]
    before = hashes(tmp_path)
    for given in (str(source), source):
        with pytest.raises(ConfigError, match="choose another output"):
            store.converter(given, output)
    assert hashes(tmp_path) == before


def test_an_output_inside_of_an_input_in_the_home_folder(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = make_folder(tmp_path / "photos")
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("~/photos", Path("~/photos")):
        with pytest.raises(ConfigError, match="choose another output"):
            store.converter(given, folder / "out")
    assert not (folder / "out").exists()


def test_an_output_that_holds_other_files(store: Store, tmp_path: Path):
    """Fault 65: they are never deleted, whatever is asked for."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(OutputExistsError, match="holds other files"):
            store.converter(numbered(2), tmp_path / "out", **options)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "thesis.tex"]


def test_foreign_files_beside_a_split_stay(store: Store, tmp_path: Path):
    """Fault 65: a README beside the data, also when the split is replaced."""
    path = store.convert(numbered(2), tmp_path / "out")
    notes = [path / "README.md", path / "data" / "notes.txt", path / "metadata" / "mine.txt"]
    for note in notes:
        note.write_text("mine")
    store.convert(numbered(3), tmp_path / "out", overwrite=True)
    assert [note.read_text() for note in notes] == ["mine"] * 3
    assert len(store.open(path)) == 3


def test_an_output_that_is_a_file(store: Store, tmp_path: Path):
    """Fault 43."""
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        store.converter(numbered(2), tmp_path / "out")
    with pytest.raises(ShardwrightError):
        store.convert(numbered(2), tmp_path / "out" / "deeper")
    assert (tmp_path / "out").read_text() == ""


def test_a_missing_parent_is_made_and_relative_paths_are_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Fault 43: the working directory may change after the construction."""
    monkeypatch.chdir(tmp_path)
    converter = get_format(store.name).load_converter()(numbered(2), "a/b/c", 5, 2, 0, progress=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    converter.convert()
    monkeypatch.chdir(tmp_path)
    reader = open_reader("a/b/c")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert reader[1][1] == 1


def test_names_that_are_too_long(store: Store, tmp_path: Path):
    """Fault 95."""
    for path in (tmp_path / ("x" * 250), Path(tmp_path, *["y" * 100] * 60)):
        with pytest.raises(ConfigError, match="too long"):
            store.converter(numbered(2), path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("given", [[], 7, None, {"a": 1}, iter([1]), object, "does/not/exist", b"bytes", np.zeros(3)])
def test_what_is_no_input(store: Store, tmp_path: Path, given: Any):
    """Faults 26, 39: said at construction, with what is accepted."""
    with pytest.raises((InputError, ConfigError)):
        store.converter(given, tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("sample", ["cat/1.jpg", ("cat/1.jpg", 0), {"image": "cat/1.jpg"}])
def test_names_of_files_are_no_images(tmp_path: Path, sample: Any):
    """They would be stored as text, and only training would show it."""
    store = Store("parquet", tmp_path)
    with pytest.raises(InputError, match=r"'cat/1\.jpg' is no image; .*open it: Image\.open"):
        store.convert([sample] * 3)
    fields = [Field("image", "text")]
    assert store.open(store.convert([{"image": "cat/1.jpg"}] * 3, fields=fields))[0] == {"image": "cat/1.jpg"}


def test_folders_without_images(store: Store, tmp_path: Path):
    """Faults 26, 39."""
    (tmp_path / "in" / "class").mkdir(parents=True)
    (tmp_path / "in" / "class" / "notes.txt").write_text("none")
    with pytest.raises(InputError, match="no images"):
        store.converter(tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match="is a file"):
        store.converter(tmp_path / "in" / "class" / "notes.txt", tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]


def test_fields_that_the_samples_do_not_have(store: Store, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"\['labels'\].*\['image', 'label'\]"):
        store.convert(numbered(2), tmp_path / "out", fields=[Field("labels", "class_label")])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("label", "number"), "kind"),
        (("1label", "int"), "name"),
        (("a b", "int"), "name"),
        (("x", "array", "S4", (2,)), "dtype"),
        (("x", "array", "no", (2,)), "dtype"),
        (("x", "array", "|u1", (-1,)), "shape"),
        (("x", "text", None, (2,)), "shape"),
    ],
)
def test_wrong_fields(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        Field(*arguments)


def test_names_of_fields_that_collide(store: Store, tmp_path: Path):
    samples = [{"x": picture(0), "x_offset": 3}]
    with pytest.raises(ConfigError, match="x_offset"):
        store.convert(samples, tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "no rank was found"),
        ({"RANK": "0"}, "WORLD_SIZE is not set"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK='one'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "rank 2 of 2"),
        ({"RANK": "0", "WORLD_SIZE": "3", "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, "rank"),
    ],
)
def test_launchers_that_say_nothing_or_nonsense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
):
    """Fault 45."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "TORCHELASTIC")) or name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DistributedError, match=message):
        Store("tar", tmp_path).converter(numbered(2), dist=True)
    assert os.listdir(tmp_path) == []


def test_an_unknown_format_lists_those_there_are():
    """Fault 41."""
    with pytest.raises(ConfigError, match="hdf5, memmap, parquet, pyarrow_ipc, tar"):
        get_format("lmdb")


@pytest.mark.filterwarnings("ignore:Got pickle error")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_input_that_cannot_be_sent_to_workers(tmp_path: Path, method: str):
    """Fault 46: where processes are started afresh, a lambda in the input is told of, with the mend."""
    before = torch.multiprocessing.get_start_method()
    torch.multiprocessing.set_start_method(method, force=True)
    try:
        with pytest.raises(ConfigError, match="num_workers=0"):
            Store("tar", tmp_path).convert(Lambdas(), num_workers=1)
    finally:
        torch.multiprocessing.set_start_method(before, force=True)


def test_a_tilde_is_the_home_folder_for_outputs_as_for_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    get_format("tar").load_converter()(numbered(3), "~/out", num_workers=0, progress=False).convert()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(open_reader("~/out")) == len(open_reader("~/out", data_path="~/out/data")) == 3
    assert verify("~/out").ok


class Lambdas:
    """A dataset that cannot be pickled."""

    def __init__(self) -> None:
        self.load = lambda n: (picture(n), n)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return self.load(index)
