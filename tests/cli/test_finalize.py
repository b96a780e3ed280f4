"""`finalize`: publish a split whose shards are all there, or name those that are not."""

from pathlib import Path
from typing import Any

import pytest

from shardwright.base.errors import StorageError
from tests.cli.commands import Run


def test_finalize_names_missing_shards(photos: Path, out: Path, run: Run) -> None:
    arguments = ["--images-per-file", 3, "--num-workers", 0, "--rank", 0, "--num-replicas", 2, "--no-wait"]
    code, printed, _ = run("convert", photos, out, "--format", "tar", *arguments)
    assert (code, "the last rank publishes" in printed) == (0, True)
    code, _, errors = run("finalize", out)
    assert code == 1
    assert "lacks 1 shards: 1; run the conversion again" in errors


def test_finalize_publishes_what_is_complete(photos: Path, out: Path, run: Run) -> None:
    def full(*arguments: Any, **named: Any) -> None:
        raise StorageError("the disk is full; make room")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardwright.base.writing.finish.publish", full)
        assert run("convert", photos, out, "--format", "tar", "--num-workers", 0)[0] == 3
    assert "shardwright finalize" in run("info", out)[2]
    code, printed, _ = run("finalize", out)
    assert (code, printed) == (0, f"{out}: split train is published: 7 images in 1 shard\n")
    assert run("verify", out)[0] == 0
