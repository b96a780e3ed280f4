"""Fixtures of the tests of the core."""

import sys
from pathlib import Path

import pytest

# Test modules import their helpers as `tests.<...>`, also when pytest is not started with `python -m`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shardwright.base.formats import format_names
from tests.conformance.tools import Store


@pytest.fixture(scope="session", params=format_names())
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One format of the table, and folders to work in; what `store.photos` gives is converted once."""
    return Store(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make many conversions quick: what a kill leaves does not depend on fsync."""
    monkeypatch.setattr("os.fsync", lambda fd: None)
