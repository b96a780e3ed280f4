"""The single-pulse project: from an observation, or arrays as the Keras project had them, to predictions."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.common.config import read_config
from examples.common.fit import load_checkpoint
from examples.single_pulse import (
    convert_to_pytorch,
    evaluate,
    run_inference,
    run_pipeline_simulation,
    simulate,
    training,
)
from examples.single_pulse.filterbank import dedisperse, delays, open_filterbank, write_header
from examples.single_pulse.simulate import EFFELSBERG, Sky, add_pulse, simulate_planes, trial_dms
from examples.single_pulse.training_models import MODELS, make_model
from shardwright import ConfigError, CorruptShardError

ROOT = Path(__file__).resolve().parents[2]
FRB = ROOT.parent / "shared" / "data" / "askap-frb" / "28.fil"
NAME = "DM_time_binary_classificator_241002_3"
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of TensorBoard


# --- observations ---------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("foff", [-2.0, 2.0])
def test_filterbanks_in_and_out(bits: int, foff: float, tmp_path: Path) -> None:
    values = np.arange(5 * 6).reshape(5, 6)
    dtype = {8: np.uint8, 16: "<u2", 32: "<f4"}[bits]
    with (tmp_path / "a.fil").open("wb") as file:
        write_header(file, {"nchans": 6, "nbits": bits, "nifs": 1, "tsamp": 0.01, "fch1": 1400.0, "foff": foff,
                            "source_name": "x"})  # fmt: skip
        file.write(values.astype(dtype).tobytes())
    found = open_filterbank(tmp_path / "a.fil")
    assert len(found) == 5
    assert np.array_equal(found.read(1, 4), values[1:4])
    assert found.frequencies.tolist() == [1400 + i * foff for i in range(6)]


def test_delays_are_those_of_the_law() -> None:
    found = delays(np.array([1500.0, 1200.0]), 57.0)
    assert found[0] == 0
    assert found[1] == pytest.approx(4.148808e-3 * 57 * (1.2**-2 - 1.5**-2))


def test_a_pulse_peaks_at_its_measure_and_time() -> None:
    band = EFFELSBERG.binned(4)
    dms = trial_dms(64)
    longest = int(np.rint(delays(band.frequencies, dms) / band.tsamp).max())
    power = np.zeros((band.channels, 64 + longest), np.float32)
    add_pulse(power, band, 57.0, 30.0, 20.0, 1.0)
    plane = dedisperse(power, band.frequencies, band.tsamp, dms)
    row, column = np.unravel_index(plane.argmax(), plane.shape)
    assert abs(dms[row] - 57) <= 2
    assert abs(column - 30) <= 1
    matched = np.sqrt((power.astype(np.float64) ** 2).sum())
    assert matched == pytest.approx(20, rel=1e-3)  # the signal-to-noise ratio of a matched filter


@pytest.mark.parametrize(
    ("size", "told"), [(20, "cut in its header"), (-3, "is cut: .* bytes of a spectrum"), (0, "cut in its header")]
)
def test_cut_observations_are_told(size: int, told: str, tmp_path: Path) -> None:
    simulate.simulate_observation(tmp_path / "a.fil", 1.0, 1, 0)
    os.truncate(tmp_path / "a.fil", size if size >= 0 else (tmp_path / "a.fil").stat().st_size + size)
    with pytest.raises(CorruptShardError, match=told) as caught:
        open_filterbank(tmp_path / "a.fil")
    if "truncate" in str(caught.value):  # the advice works
        subprocess.run(str(caught.value).rpartition(": ")[2].split(), check=True)
        open_filterbank(tmp_path / "a.fil")


@pytest.mark.skipif(not FRB.exists(), reason="needs shared/data/askap-frb/28.fil, which is not part of this repository")
def test_a_real_burst_lies_where_it_was_published() -> None:
    found = open_filterbank(FRB)
    dms = np.arange(348, 604, 1.0)
    plane = dedisperse(np.ascontiguousarray(found.read(0, len(found)).T), found.frequencies, found.tsamp, dms)
    row, column = np.unravel_index(plane.argmax(), plane.shape)
    assert abs(dms[row] - 475.3) < 5
    assert abs(column * found.tsamp - 2.029) < 0.010


# --- simulation and models ------------------------------------------------------------------


def test_planes_are_scaled_flipped_and_half_pulses() -> None:
    (planes, labels, snr), *_ = simulate_planes(20, 64, 0)
    assert planes.dtype == np.uint8
    assert labels.tolist() == [0, 1] * 10
    assert (np.isnan(snr) == (labels == 0)).all()
    assert all(plane.min() == 0 and plane.max() == 255 for plane in planes)
    strong = planes[np.nanargmax(snr)]
    row, _ = np.unravel_index(strong.argmax(), strong.shape)
    assert abs(trial_dms(64)[::-1][row] - 57) < 6  # the highest measure comes first


def test_copies_follow_each_other_and_are_never_in_both_parts() -> None:
    (_, labels, _), *_ = simulate_planes(4, 32, 0, copies=3)
    assert labels.tolist() == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3
    one, other = training.split_events(30, 3, 42)
    assert sorted(one + other) == list(range(30))
    assert not {row // 3 for row in one} & {row // 3 for row in other}
    with pytest.raises(ConfigError, match="no multiple"):
        training.split_events(31, 3, 42)


def test_the_models_have_the_parameters_that_are_stated() -> None:
    count = {name: sum(p.numel() for p in make_model(name, 256).parameters()) for name in MODELS}
    assert count["DM_time_binary_classificator_241002_1"] == 260_113_570
    assert count[NAME] == 9_985_926
    for name in MODELS:
        assert make_model(name, 32)(torch.zeros(2, 1, 32, 32)).shape == (2, 2)
    with pytest.raises(ConfigError, match=f"there are .*{NAME}"):
        make_model("DM_time_binary_classificator", 64)


# --- training -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planes")
    assert simulate.main([str(folder), "--resolution", "32", "--events", "200", "--held-out", "40"]) == 0
    return folder


def config(folder: Path, data: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    values = {
        "path_to_files": str(data), "path_to_checkpoints": "checkpoints", "path_to_images": "images",
        "resolution": 32, "model_name": NAME, "files_by_resolution": {"default": "planes_{res}x{res}.npy"},
        "labels": "labels.npy", "learning_rate": 0.001, "num_epochs": 2, "batch_size": 16, "save_every": 1,
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps({k: v for k, v in (values | changes).items() if v is not None}))
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / f"checkpoints/ch_point_{NAME}_32/last.pth")["model_state_dict"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert training.main([str(config(folder, data))]) == 0
    return folder


def test_the_same_seed_gives_the_same_weights(data: Path, trained: Path, tmp_path: Path) -> None:
    assert training.main([str(config(tmp_path, data))]) == 0
    assert same(weights(trained), weights(tmp_path))
    found = sorted(path.name for path in (tmp_path / f"checkpoints/ch_point_{NAME}_32").glob("prot-*.pth"))
    assert found
    assert found[0].startswith("prot-001-")
    state = load_checkpoint(tmp_path / f"checkpoints/ch_point_{NAME}_32" / found[0])
    assert {"epoch", "model_state_dict", "optimizer_state_dict", "accuracy", "val_accuracy"} <= state.keys()
    assert list((tmp_path / "images").glob("accuracy_across_epochs_for_*_32x32.jpg"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_killed_training_ends_with_the_same_weights(seed: int, data: Path, trained: Path, tmp_path: Path) -> None:
    path, last = config(tmp_path, data), tmp_path / f"checkpoints/ch_point_{NAME}_32/last.pth"
    wanted = int(np.random.default_rng(seed).integers(1, 18))
    command = [sys.executable, "-m", "examples.single_pulse.training", str(path)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 120
        while child.poll() is None and time.monotonic() < ends:
            if last.exists() and load_checkpoint(last)["step"] >= wanted:
                break
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert training.main([str(path)]) == 0
    assert same(weights(trained), weights(tmp_path))


def test_stopped_steps_count_over_runs(data: Path, trained: Path, tmp_path: Path) -> None:
    path = config(tmp_path, data)
    for steps in (3, 12):
        assert training.main([str(path), "--max-steps", str(steps)]) == 0
        assert load_checkpoint(tmp_path / f"checkpoints/ch_point_{NAME}_32/last.pth")["step"] == steps
    assert training.main([str(path)]) == 0
    assert same(weights(trained), weights(tmp_path))


def test_a_converted_array_trains_with_the_configuration_that_was_written(data: Path, tmp_path: Path) -> None:
    from tests.examples.test_tf_to_pytorch import convert

    out = tmp_path / "planes.npy"
    code = convert.main([str(data / "planes_32x32.npy"), str(out), "--labels", str(data / "labels.npy")])
    assert code == 0
    assert training.main([str(tmp_path / "config_pytorch.json"), "--max-steps", "2"]) == 0
    assert (tmp_path / f"checkpoints/ch_point_{NAME}_32/last.pth").exists()


WRONG = {
    "a misspelt key": ({"learning_rat": 0.1}, "learning_rat is no key here; learning_rate is meant"),
    "a missing key": ({"labels": None}, "the key labels is missing"),
    "another type": ({"num_epochs": "many"}, "num_epochs is 'many', not a whole number"),
    "an unknown model": ({"model_name": "resnet"}, "'resnet' is not known; there are"),
    "no such file": ({"labels": "none.npy"}, "none.npy"),
    "labels of another length": ({"labels": "held_out_labels.npy"}, "200 samples, labels has 40"),
    "another resolution": ({"resolution": 64, "files_by_resolution": {"64": "planes_32x32.npy"}}, "resolution is 64"),
    "no file for it": ({"files_by_resolution": {"256": "a.npy"}}, "no 32 and no default"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(case: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, told = WRONG[case]
    assert training.main([str(config(tmp_path, data, **changes))]) == 1
    printed = capsys.readouterr().err
    assert told in printed
    assert printed.count("\n") == 1
    assert not list(tmp_path.rglob("*.pth"))


def test_another_configuration_does_not_go_on(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main([str(config(tmp_path, data)), "--max-steps", "1"]) == 0
    assert training.main([str(config(tmp_path, data, batch_size=8))]) == 1
    assert "begun with batch_size 16, not 8: remove it" in capsys.readouterr().err


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("spoil", ["cut", "evil", "foreign"])
def test_bad_checkpoints_are_one_line_and_run_nothing(
    spoil: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = config(tmp_path, data)
    assert training.main([str(path), "--max-steps", "1"]) == 0
    last = tmp_path / f"checkpoints/ch_point_{NAME}_32/last.pth"
    if spoil == "cut":
        os.truncate(last, 1000)
    elif spoil == "evil":
        last.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save({"weights": torch.zeros(2)}, last)
    capsys.readouterr()
    assert training.main([str(path)]) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "remove it to begin anew" in printed
    assert not (tmp_path / "ran").exists()


# --- inference and the pipeline -------------------------------------------------------------


def pipeline(folder: Path, trained: Path, source: Path, **changes: Any) -> Path:
    model = max((trained / f"checkpoints/ch_point_{NAME}_32").glob("prot-*.pth"))
    values = {
        "path_to_filterbanks": str(source.parent), "name_of_the_filterbank": source.name,
        "path_to_models": str(model.parent), "name_of_the_model": model.name, "model_name": NAME, "resolution": 32,
        "workers_for_pytorch": 1, "path_to_output": "out", "use_multiprocessing": True, "key_input": "dada",
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "pipeline.json").write_text(json.dumps(values | changes))
    return folder / "pipeline.json"


def test_arrays_are_classified_in_their_order(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pipeline(tmp_path, trained, data / "held_out_32x32.npy")
    assert run_inference.main(["-c", str(path)]) == 0
    assert "use_multiprocessing is ignored" in capsys.readouterr().out
    classes = np.load(tmp_path / "out/predictions_held_out_32x32.npy")
    found = np.load(tmp_path / "out/probabilities_held_out_32x32.npy")
    assert (classes.dtype, classes.shape, found.dtype) == (np.int32, (40,), np.float32)
    assert np.array_equal(classes, found > 0.5)
    code = evaluate.main(
        [str(tmp_path / "out/probabilities_held_out_32x32.npy"), str(data / "held_out_labels.npy"),
         "--snr", str(data / "held_out_snr.npy"), "--picture", str(tmp_path / "recall.png")]
    )  # fmt: skip
    assert code == 0
    assert "recall at S/N >= 10" in capsys.readouterr().out


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("observation")
    assert simulate.main([str(folder), "--observation", "crab.fil", "--seconds", "3", "--pulses", "4"]) == 0
    return folder / "crab.fil"


def test_a_pipeline_that_is_killed_goes_on_and_gives_what_inference_gives(
    observation: Path, trained: Path, tmp_path: Path
) -> None:
    whole = pipeline(tmp_path / "whole", trained, observation)
    assert run_inference.main(["-c", str(whole)]) == 0
    path = pipeline(tmp_path / "live", trained, observation, batch_size=4)
    out = tmp_path / "live/out/predictions_crab.npy"
    command = [sys.executable, "-m", "examples.single_pulse.run_pipeline_simulation", "-c", str(path), "--speed", "1"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 120
        while time.monotonic() < ends and child.poll() is None:
            if out.exists() and (np.load(out) >= 0).any():
                break
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    begun = np.load(out)
    assert set(begun.tolist()) <= {-1, 0, 1}
    assert (begun == -1).any()
    assert run_pipeline_simulation.main(["-c", str(path), "--speed", "0"]) == 0
    for what in ("predictions", "probabilities"):
        live = np.load(tmp_path / f"live/out/{what}_crab.npy")
        assert np.allclose(live, np.load(tmp_path / f"whole/out/{what}_crab.npy"), atol=1e-6)


def test_a_keras_file_is_no_checkpoint_and_the_advice_is_told(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pipeline(tmp_path, trained, data / "held_out_32x32.npy", name_of_the_model="model.h5")
    assert run_inference.main(["-c", str(path)]) == 1
    assert "examples.single_pulse.convert_to_pytorch" in capsys.readouterr().err
    path = pipeline(tmp_path, trained, data / "held_out_32x32.npy", name_of_the_model="none.pth")
    assert run_inference.main(["-c", str(path)]) == 1
    assert "Model file not found" in capsys.readouterr().err


def test_a_template_and_trained_weights_of_keras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.examples.keras_pairs import keras

    layers = keras.layers
    made = [keras.Input((32, 32, 1)), layers.Conv2D(16, 5, activation="relu"), layers.Flatten()]
    model = keras.Sequential([*made, layers.Dense(256, activation="relu"), layers.Dense(2, activation="softmax")])
    model.save(tmp_path / "old.keras")
    name, out = "DM_time_binary_classificator_241002_1", tmp_path / "new.pth"
    assert convert_to_pytorch.main([name, str(out), "--resolution", "32"]) == 0
    assert convert_to_pytorch.main([name, str(out), "--resolution", "32"]) == 1
    arguments = [name, str(out), "--resolution", "32", "--from-keras", str(tmp_path / "old.keras"), "--overwrite"]
    assert convert_to_pytorch.main(arguments) == 0
    module = make_model(name, 32)
    module.load_state_dict(load_checkpoint(out)["model_state_dict"])
    x = np.random.default_rng(0).uniform(size=(3, 32, 32, 1)).astype(np.float32)
    with torch.no_grad():
        ours = module(torch.from_numpy(x).permute(0, 3, 1, 2)).softmax(dim=1).numpy()
    assert np.abs(ours - keras.ops.convert_to_numpy(model(x))).max() < 1e-5
    capsys.readouterr()


def test_yaml_is_read_as_json_is(tmp_path: Path, data: Path) -> None:
    values = json.loads(config(tmp_path, data).read_text())
    (tmp_path / "config.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))
    assert read_config(tmp_path / "config.yaml", training.TrainingConfig) == read_config(
        tmp_path / "config.json", training.TrainingConfig
    )


def test_the_sky_has_other_measures() -> None:
    rng = np.random.default_rng(0)
    assert all(not 50 < Sky().other(rng) < 64 for _ in range(200))
