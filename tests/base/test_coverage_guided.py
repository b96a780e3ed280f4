"""Random damage that learns: what reaches new lines of the library is damaged further. For every format.

The hashes are made to fit each time, so that the damage reaches the parsers and is not just seen.
`SHARDWRIGHT_FUZZ_ROUNDS` sets how long it goes on; a night takes a million.
"""

import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shardwright.base.errors import ShardwrightError
from shardwright.base.split.manifest import Manifest
from shardwright.base.split.paths import SplitPaths
from shardwright.base.storage.strict_json import canonical_json
from shardwright.base.verify import verify
from tests.conformance.children import in_child
from tests.conformance.tools import Store, numbered
from tests.forged import sign

ROUNDS = int(os.environ.get("SHARDWRIGHT_FUZZ_ROUNDS", "60"))
LIBRARY = str(Path(__file__).parents[2] / "shardwright")
HANG = 20  # seconds of one attempt


@contextlib.contextmanager
def lines_reached() -> Iterator[set[tuple[str, int]]]:
    """The lines of the library that this thread runs through."""
    seen: set[tuple[str, int]] = set()

    def enter(frame: Any, event: str, argument: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(LIBRARY) else None

    def line(frame: Any, event: str, argument: Any) -> Any:
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield seen
    finally:
        sys.settrace(before)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One to four changes: a bit, a byte, a number, a piece that is cut, doubled or moved."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        edge = rng.randrange(1, min(len(data), 1500) + 1)
        at = rng.choice((rng.randrange(len(data)), edge - 1, len(data) - edge))
        piece = bytes(data[at : at + rng.choice((1, 4, 8, 64))])
        new = rng.choice(
            (
                bytes([piece[0] ^ 1 << rng.randrange(8)]) + piece[1:],
                rng.choice((b"\0", b"\xff", b"\x7f")) * len(piece),
                rng.choice((2**31, 2**31 - 1, 2**63 - 1, 2**40)).to_bytes(8, "little")[: len(piece)],
                b"",
                piece * 2,
            )
        )
        data[at : at + len(piece)] = new
        if not data:
            return b"\0"
    return bytes(data)


def explore(seed: bytes, attempt: Callable[[bytes], None], rounds: int) -> int:
    """Damage again and again, first the seed and then whatever reached new lines; how often that was."""
    rng, corpus, known = random.Random(len(seed)), [seed], set()
    for _ in range(rounds):
        content = damaged(rng.choice(corpus), rng)
        signal.alarm(HANG)  # ends the process
        with lines_reached() as reached:
            attempt(content)
        signal.alarm(0)
        if not reached <= known:
            known |= reached
            corpus.append(content)
    return len(corpus) - 1


def test_damaged_shards_are_problems_and_errors_of_this_library(store: Store, tmp_path: Path, no_sync: None):
    """Fault 126: neither `verify` nor a reader raises anything else, ends or hangs."""
    split = store.convert(numbered(3), tmp_path / "out")
    path = store.shards(split)[0]

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        sign(split)
        verify(split)
        with contextlib.suppress(ShardwrightError):
            list(store.open(split, check=True))

    def locate() -> int:
        # In this thread, where lines are counted; `verify` has threads of its own.
        reader = store.open(split)

        def both(content: bytes) -> None:
            attempt(content)
            with contextlib.suppress(Exception):
                reader._locate(path.with_name(path.name.replace(".image.npy", ".npy")), reader.fields)

        return explore(path.read_bytes(), both, ROUNDS)

    assert in_child(locate) > 1


def test_damaged_manifests_are_errors_of_this_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fault 126: also when their hash fits."""
    split = Store("parquet", tmp_path).convert(numbered(3))
    values = json.loads(SplitPaths(split, "train").manifest.read_bytes())
    del values["self_hash"]
    monkeypatch.setattr("shardwright.base.split.manifest._self_hash", lambda values: None)

    def attempt(data: bytes) -> None:
        with contextlib.suppress(ShardwrightError):
            Manifest.from_bytes(data, tmp_path)

    assert in_child(lambda: explore(canonical_json(values).encode(), attempt, 20 * ROUNDS)) > 3
