"""The command that converts weights of Keras: both ways, one line for what is wrong, nothing written then."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from examples.tf_to_pytorch.convert_keras_weights import main
from tests.examples.keras_pairs import keras
from tests.examples.test_keras_weights import of_keras, of_torch, pytestmark, randomize  # noqa: F401

HERE = "tests.examples.test_convert_keras_weights"
L = keras.layers


class Small(nn.Module):
    def __init__(self, width: int = 6, classes: int = 2) -> None:
        super().__init__()
        self.conv, self.flatten, self.dense = nn.Conv2d(1, width, 3), nn.Flatten(), nn.Linear(width * 36, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.flatten(self.conv(x).relu()))


def make_number() -> int:
    return 3


def small_keras(width: int = 6) -> Any:
    model = keras.Sequential([keras.Input((8, 8, 1)), L.Conv2D(width, 3, activation="relu"), L.Flatten(), L.Dense(2)])
    randomize(model, 4)
    return model


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_there_and_back(ending: str, tmp_path: Path, x: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    model, config = small_keras(width=5), tmp_path / f"config.{ending}"
    model.save(tmp_path / "m.keras")
    config.write_text(json.dumps({"width": 5}) if ending == "json" else "width: 5\n")
    options = ["--model", f"{HERE}:Small", "--config", str(config)]
    assert main([str(tmp_path / "m.keras"), str(tmp_path / "m.pth"), *options]) == 0
    assert "conv (Conv2d) <- conv2d" in capsys.readouterr().out

    module = Small(width=5)
    module.load_state_dict(torch.load(tmp_path / "m.pth", weights_only=True))
    assert np.abs(of_keras(model, x) - of_torch(module, x)).max() < 1e-5

    torch.save(Small(width=5).state_dict(), tmp_path / "other.pth")
    back = ["--to-keras", tmp_path / "other.pth", tmp_path / "m.keras", tmp_path / "back.keras"]
    assert main([*map(str, back), *options]) == 0
    module.load_state_dict(torch.load(tmp_path / "other.pth", weights_only=True))
    again = keras.models.load_model(tmp_path / "back.keras")
    assert np.abs(of_keras(again, x) - of_torch(module, x)).max() < 1e-5


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def _no_file(path: Path) -> None:
    path.unlink()


WRONG: dict[str, tuple[list[str], str]] = {
    "no such module": (["m.keras", "o.pth", "--model", "nowhere.models:Small"], "nowhere"),
    "no such class": (["m.keras", "o.pth", "--model", f"{HERE}:Large"], "Large"),
    "no colon": (["m.keras", "o.pth", "--model", HERE], "MODULE:CLASS"),
    "not a module": (["m.keras", "o.pth", "--model", f"{HERE}:make_number"], "int, no torch.nn.Module"),
    "a misspelt argument": (["m.keras", "o.pth", "--model", f"{HERE}:Small", "--config", "c.json"], "widht"),
    "a config that is none": (["m.keras", "o.pth", "--model", f"{HERE}:Small", "--config", "list.json"], "list.json"),
    "no such file": (["n.keras", "o.pth", "--model", f"{HERE}:Small"], "n.keras"),
    "another model": (["other.keras", "o.pth", "--model", f"{HERE}:Small"], "weight is"),
    "an output that is there": (["m.keras", "there.pth", "--model", f"{HERE}:Small"], "--overwrite"),
    "no folder": (["m.keras", "no/o.pth", "--model", f"{HERE}:Small"], "no folder"),
    "a pickle": (["--to-keras", "evil.pth", "m.keras", "o.keras", "--model", f"{HERE}:Small"], "evil.pth"),
    "a cut checkpoint": (["--to-keras", "cut.pth", "m.keras", "o.keras", "--model", f"{HERE}:Small"], "cut.pth"),
    "a foreign checkpoint": (
        ["--to-keras", "foreign.pth", "m.keras", "o.keras", "--model", f"{HERE}:Small"],
        "foreign",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small_keras().save("m.keras")
    small_keras(width=7).save("other.keras")
    Path("there.pth").write_text("mine")
    Path("c.json").write_text('{"widht": 5}')
    Path("list.json").write_text("[1]")
    Path("evil.pth").write_bytes(pickle.dumps(Evil()))
    torch.save(nn.Linear(2, 2).state_dict(), "foreign.pth")
    torch.save(Small().state_dict(), "cut.pth")
    Path("cut.pth").write_bytes(Path("cut.pth").read_bytes()[:600])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    arguments, told = WRONG[case]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_keras_is_needed(tmp_path: Path) -> None:
    small_keras().save(tmp_path / "m.keras")
    code = (
        "import sys; sys.modules['keras'] = None\n"
        "from examples.tf_to_pytorch.convert_keras_weights import main\n"
        f"sys.exit(main([{str(tmp_path / 'm.keras')!r}, {str(tmp_path / 'm.pth')!r}, '--model', 'torch.nn:Identity']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no layer of the module takes conv2d" in done.stderr
