"""Which technology reads a path: told without a look at every file of a large folder."""

from pathlib import Path

import pytest

from shardwright.base import formats, inputs
from shardwright.base.inputs import find_input


def test_a_large_folder_of_images_is_told_by_its_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (tmp_path / f"{number:03d}.jpg").touch()

    def asked(*arguments: object) -> None:
        raise AssertionError("the name of an image is compared with all formats")

    monkeypatch.setattr(inputs, "_named", asked)
    assert find_input(tmp_path).record is None


def test_plug_ins_are_looked_for_once_for_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (tmp_path / f"{number:03d}.tar").touch()
    calls: list[object] = []
    monkeypatch.setattr(formats, "entry_points", lambda **group: calls.append(group) or [])
    formats._load_plugins.cache_clear()
    try:
        assert len(find_input(tmp_path).files) == 50
    finally:
        formats._load_plugins.cache_clear()
    assert len(calls) == 1
