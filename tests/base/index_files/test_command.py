"""`shardwright index`: what it prints, and an index in another folder."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardwright.base.errors import IncompleteDatasetError, InputError
from shardwright.base.reader import open_reader
from shardwright.cli.main import main
from tests.base.index_files.files import PIXELS, PNGS, by_numpy, write_tar


def test_an_index_elsewhere_leaves_the_folder_of_the_files_alone(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "files").mkdir()
    by_numpy(tmp_path / "files")
    before = sorted(os.listdir(tmp_path / "files"))
    files, index = str(tmp_path / "files"), str(tmp_path / "index")
    assert main(["index", files, "--metadata-dir", index, "--split", "val"]) == 0
    assert "12 in 4 files" in capsys.readouterr().out
    assert sorted(os.listdir(files)) == before
    with pytest.raises(IncompleteDatasetError, match="data_path="):
        open_reader(index, split="val")
    reader = open_reader(index, split="val", data_path=files)
    assert np.array_equal(np.asarray(reader[11][0]), PIXELS[11])
    assert main(["verify", index]) == 1
    assert main(["verify", index, "--data-path", files]) == 0
    assert main(["info", index, "--data-path", files]) == 0
    assert "memmap" in capsys.readouterr().out
    arguments = ["--format", "hdf5", "--shape", "6x7", "--input-split", "val", "--input-data-path", files]
    assert main(["convert", index, str(tmp_path / "h5"), "--num-workers", "0", *arguments]) == 0
    assert np.array_equal(np.asarray(open_reader(tmp_path / "h5")[4][0]), PIXELS[4])


def test_the_command_says_what_was_left_out(tmp_path: Path, capsys: Any) -> None:
    write_tar(tmp_path / "a.tar", [("0.png", PNGS[0]), ("0.txt", b"x"), ("1.png", b"no image")])
    assert main(["index", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "left out member .txt: not in every sample: 1" in printed
    assert "damaged  image: 1" in printed
    assert json.loads((tmp_path / "metadata" / "train.json").read_text())["data_dir"] == "."
    with pytest.raises(InputError):
        open_reader(tmp_path)[1]
    assert main(["index", str(tmp_path)]) == 2


def test_the_advice_to_convert_is_a_command_that_works(tmp_path: Path, capsys: Any) -> None:
    photos = tmp_path / "my photos"
    photos.mkdir()
    (photos / "0.png").write_bytes(PNGS[0])
    assert main(["index", str(photos)]) != 0
    advice = re.search(r"shardwright (convert .* OUTPUT --format parquet)", capsys.readouterr().err)
    assert advice is not None
    words = [str(tmp_path / "out") if word == "OUTPUT" else word for word in shlex.split(advice[1])]
    assert main([*words, "--num-workers", "0"]) == 0
    assert len(open_reader(tmp_path / "out")) == 1
    assert main(["index", str(tmp_path / "out")]) != 0
    assert re.search(r"is a converted dataset already.*out/data", capsys.readouterr().err)
