"""`verify`: whether the files are whole, and which are not."""

from pathlib import Path

from tests.cli.commands import Run, convert


def test_verify_names_the_damage(photos: Path, out: Path, run: Run) -> None:
    convert(run, photos, out, "--format", "tar")
    code, printed, errors = run("verify", out)
    assert (code, errors) == (0, "")
    assert ": train: all right (7 samples, " in printed
    shard = out / "data/train-00001-of-00003.tar"
    content = bytearray(shard.read_bytes())
    content[520] ^= 1
    shard.write_bytes(content)
    code, printed, errors = run("verify", out)
    assert code == 1
    assert [line.partition(": ")[0] for line in printed.splitlines()] == [str(shard), str(shard)]
    assert "split train, shard 1, sample 3, field image" in printed
    assert "2 problems found; restore the named files" in errors
