"""The table of formats: a plug-in offers any of the four doors, and no more than it likes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shardwright.base import formats
from shardwright.base.errors import ConfigError, InputError
from shardwright.base.export import Samples, export
from shardwright.base.fields import Field
from shardwright.base.formats import Export, Format, export_targets, format_names, get_format, register, technologies
from shardwright.base.index_files import index_files
from shardwright.base.open_source import open_source
from shardwright.base.reader import Reader, open_reader
from shardwright.base.source import Places, Source
from shardwright.base.storage.ranges import Ranges
from shardwright.cli.main import main
from shardwright.tar.converter import TarConverter
from shardwright.tar.reader import TarReader

DATA = [(np.full((4, 5, 3), n, np.uint8), n) for n in range(3)]


class LinesSource(Source):
    """The lines of a file as texts."""

    format_name = "lines"
    sample_type = "dict"

    def __init__(self, path: Any) -> None:
        self._path = Path(path)
        self._lines = self._path.read_bytes().splitlines()

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"text": self._lines[index].decode()}


class IndexedLines(LinesSource):
    """The same, knowing where each line lies."""

    def places(self) -> list[Places]:
        lengths = np.array([len(line) for line in self._lines], np.int64)
        ranges = {"text": Ranges(self._path.absolute(), np.cumsum(lengths + 1) - lengths - 1, lengths)}
        return [Places(len(self), (Field("text", "text"),), ranges, {}, (self._path.absolute(),))]


class LinesReader(Reader):
    """Reads an index of lines; none is ever written as such."""

    format_name = "lines"

    @staticmethod
    def _locate(path: Path, fields: tuple[Field, ...]) -> Mapping[str, Ranges]:
        (found,) = IndexedLines(path).places()
        return found.ranges


class OwnConverter(TarConverter):
    """A tar of another name."""

    format_name = "own"


class OwnReader(TarReader):
    """Reads those."""

    format_name = "own"


def export_labels(samples: Samples, output: Path) -> None:
    """Write a line per label."""
    output.write_text("".join(f"{sample['label']}\n" for sample in samples))


@pytest.fixture(params=["register", "entry point"])
def plug_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Adds a record, for this test only."""
    monkeypatch.setattr(formats, "_FORMATS", dict(formats._FORMATS))
    if request.param == "register":
        yield register
        return
    points: list[SimpleNamespace] = []
    monkeypatch.setattr(formats, "entry_points", lambda group: points if group == "shardwright.formats" else [])

    def installed(record: Format) -> None:
        points.append(SimpleNamespace(name=record.name, load=lambda: record))
        formats._load_plugins.cache_clear()  # as a new process begins

    yield installed
    formats._load_plugins.cache_clear()


def test_a_plug_in_may_offer_a_source_only(plug_in: Any, tmp_path: Path) -> None:
    plug_in(Format("lines", source=f"{__name__}:LinesSource", suffixes=(".lines",)))
    (tmp_path / "some.lines").write_text("one\ntwo\n")
    for given in (tmp_path / "some.lines", tmp_path):
        assert [open_source(given)[n]["text"] for n in range(2)] == ["one", "two"]
    TarConverter(tmp_path / "some.lines", tmp_path / "out", num_workers=0).convert()
    assert open_reader(tmp_path / "out")[1] == {"text": "two"}
    assert "lines" not in format_names()
    with pytest.raises(InputError, match=r"cannot be indexed in place .*convert it"):
        index_files(tmp_path / "some.lines")
    with pytest.raises(ConfigError, match="'lines' has no converter"):
        get_format("lines").load_converter()


def test_a_source_and_a_reader_are_enough_to_index_in_place(plug_in: Any, tmp_path: Path) -> None:
    source, reader = f"{__name__}:IndexedLines", f"{__name__}:LinesReader"
    plug_in(Format("lines", reader=reader, source=source, suffixes=(".lines",), in_place=True))
    (tmp_path / "some.lines").write_text("one\nzwölf\n")
    manifest = index_files(tmp_path / "some.lines")
    assert (manifest.format, manifest.num_samples) == ("lines", 2)
    assert open_reader(tmp_path)[1] == {"text": "zwölf"}
    assert main(["verify", str(tmp_path)]) == 0


def test_a_plug_in_may_offer_a_reader_only(plug_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is where another machine converts."""
    with monkeypatch.context() as other_machine:
        both = Format("own", ".tar", converter=f"{__name__}:OwnConverter", reader=f"{__name__}:OwnReader")
        other_machine.setitem(formats._FORMATS, "own", both)
        assert "own" in format_names()
        get_format("own").load_converter()(DATA, tmp_path / "out", num_workers=0).convert()
    plug_in(Format("own", ".tar", reader=f"{__name__}:OwnReader"))
    assert open_reader(tmp_path / "out")[2][1] == 2
    assert "own" not in format_names()


def test_a_converter_needs_a_reader() -> None:
    with pytest.raises(ConfigError, match="'own' has a converter and no reader"):
        Format("own", ".tar", converter=f"{__name__}:OwnConverter")


def test_a_plug_in_may_offer_an_export_only(plug_in: Any, tmp_path: Path, capsys: Any) -> None:
    plug_in(Format("labels", exports=(Export("labels", f"{__name__}:export_labels", "a line per label"),)))
    export(DATA, tmp_path / "labels.txt", "labels")
    assert (tmp_path / "labels.txt").read_text() == "0\n1\n2\n"
    TarConverter(DATA, tmp_path / "out", num_workers=0).convert()
    assert main(["export", str(tmp_path / "out"), str(tmp_path / "again.txt"), "--to", "labels"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'again.txt'}: written, a line per label\n"
    assert (tmp_path / "again.txt").read_text() == "0\n1\n2\n"
    assert list(export_targets()) == ["folder", "labels", "npz", "tfrecord", "webdataset"]


def test_formats_shows_what_a_plug_in_offers(plug_in: Any, capsys: Any) -> None:
    plug_in(Format("labels", summary="numbers", exports=(Export("labels", f"{__name__}:export_labels"),)))
    assert main(["formats"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["labels", "-", "-", "-", "-", "labels"] in lines
    assert ["labels", "numbers"] in lines


def test_what_the_later_record_exports_counts(plug_in: Any, tmp_path: Path) -> None:
    plug_in(Format("mine", exports=(Export("npz", f"{__name__}:export_labels"),)))
    export(DATA, tmp_path / "out", "npz")
    assert (tmp_path / "out").read_text() == "0\n1\n2\n"


@pytest.mark.parametrize("record", technologies(), ids=lambda record: record.name)
def test_everything_in_the_table_is_there(record: Format) -> None:
    for target, load in (
        (record.converter, record.load_converter),
        (record.reader, record.load_reader),
        (record.source, record.load_source),
    ):
        assert not target or callable(load())
    for target in record.exports:
        assert callable(record.load_export(target.name))
