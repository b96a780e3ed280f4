"""Which files are indexed: by split, by pattern, by name; wrong paths are told."""

from pathlib import Path

import numpy as np
import pytest

from shardwright import ParquetConverter
from shardwright.base.errors import ConfigError, InputError, OutputExistsError, UnsafeDataError
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import open_reader
from shardwright.base.verify import verify
from tests.base.index_files.files import PIXELS, PNGS, write_tar


def test_files_called_after_the_split_are_preferred_and_others_are_told(tmp_path: Path) -> None:
    for name in ("train-0", "train-1", "val-0"):
        write_tar(tmp_path / f"{name}.tar", [("0.png", PNGS[0])])
    (tmp_path / "README.md").write_text("text")
    manifest = index_files(tmp_path)
    assert [s.files[0].name for s in manifest.shards] == ["train-0.tar", "train-1.tar"]
    assert manifest.ignored == {"file of another kind": 1, "file that is not called train": 1}
    assert index_files(tmp_path / "v*.tar", split="val").num_samples == 1
    assert len(open_reader(tmp_path, split="val")) == 1
    assert verify(tmp_path).ok
    with pytest.raises(OutputExistsError, match="choose another"):
        index_files(tmp_path)


def test_names_that_are_odd_but_safe_are_kept(tmp_path: Path) -> None:
    write_tar(tmp_path / "ünï code (1).v2.tar", [("0.png", PNGS[0])])
    index_files(tmp_path)
    assert np.array_equal(np.asarray(open_reader(tmp_path)[0]), PIXELS[0])


def test_a_wrong_path_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    for path, error in ((tmp_path, InputError), (tmp_path / "none.tar", InputError), (tmp_path / "a.txt", InputError)):
        with pytest.raises(error):
            index_files(path)
    write_tar(tmp_path / "a.tar", [("0.png", PNGS[0])])
    np.save(tmp_path / "b.npy", PIXELS)
    with pytest.raises(ConfigError, match="several formats"):
        index_files(tmp_path)
    with pytest.raises(ConfigError, match="letters"):
        index_files(tmp_path, split="../x")
    (tmp_path / "evil\u202egpj.tar").write_bytes((tmp_path / "a.tar").read_bytes())
    with pytest.raises(UnsafeDataError, match="rename"):
        index_files(tmp_path, format="tar")
    assert not (tmp_path / "metadata").exists()


def test_the_folder_above_the_files_says_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for find in (index_files, open_source):
        with pytest.raises(InputError, match=rf"looked for .*; is {tmp_path / 'data'} meant\?"):
            find(tmp_path)
        with pytest.raises(InputError, match=r"looked for [^;]*; found nothing$"):
            find(tmp_path / "data")


def test_files_of_different_splits_are_never_mixed(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for number, name in enumerate(("train-0", "train-1", "val-0")):
        write_tar(files / f"{name}.tar", [(f"{number}.png", PNGS[number]), (f"{number}.cls", b"%d" % number)])
    for split, labels in (("train", [0, 1]), ("val", [2])):
        ParquetConverter(files, tmp_path / "out", split=split, num_workers=0, progress=False).convert()
        assert open_reader(tmp_path / "out", split=split).targets.tolist() == labels
        assert open_source(files, split).ignored == {f"file that is not called {split}": 3 - len(labels)}
    for find in (lambda: index_files(files, tmp_path / "i", split="test"), lambda: open_source(files)):
        with pytest.raises(ConfigError, match=r"several splits \(train, val\).*split=.*a pattern"):
            find()
    assert len(open_source(files / "train*")) == 2
