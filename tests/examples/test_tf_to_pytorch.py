"""The scripts for those who come from TensorFlow: every pixel in its place, whole or not at all, and proof."""

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from shardwright.base.errors import ConfigError, LockedError, OutputExistsError, PlanMismatchError
from shardwright.base.storage.file_lock import take_lock

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples/tf_to_pytorch"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


single_file = load("single_file")
SingleFile, write_single_file = single_file.SingleFile, single_file.write_single_file
available_memory, check_memory = single_file.available_memory, single_file.check_memory
convert = load("convert_tf_to_pytorch")
verify = load("verify_pytorch_dataset")


def coordinates(shape=(23, 9, 8)):
    """Images whose three channels say number, row and column of every pixel."""
    return np.stack(np.indices(shape), axis=-1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", coordinates().astype(np.uint8))
    np.save("labels.npy", np.array([f"class {i % 3}" for i in range(23)]))
    return tmp_path


def run(*arguments):
    return convert.main([str(argument) for argument in arguments])


# --- the pixels -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["|u1", "<i2", ">i2", "<f4", ">f4", "<f8", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("chunk_size", [1, 7, 23, 1000])
def test_every_pixel_moves_to_its_place(folder, dtype, order, chunk_size):
    array = np.asarray(coordinates().astype(dtype), order=order)
    np.save("in.npy", array)
    assert run("in.npy", "out.npy", "--chunk-size", chunk_size, "--verify", "full") == 0
    out = np.load("out.npy")
    assert out.shape == (23, 3, 9, 8)
    assert out.dtype == array.dtype.newbyteorder("<")
    assert out.flags.c_contiguous
    for n, c, y, x in ((0, 0, 0, 0), (22, 2, 8, 7), (5, 1, 3, 2), (13, 0, 8, 0)):
        assert out[n, c, y, x] == array[n, y, x, c]
    wanted = np.ascontiguousarray(array.transpose(0, 3, 1, 2)).astype(out.dtype)
    assert hashlib.sha256(out.tobytes()).digest() == hashlib.sha256(wanted.tobytes()).digest()


@pytest.mark.parametrize(
    ("shape", "options", "out_shape"),
    [
        ((5, 9, 8), [], (5, 1, 9, 8)),
        ((5, 9, 8, 1), [], (5, 1, 9, 8)),
        ((5, 3, 9, 8), [], (5, 3, 9, 8)),
        ((5, 3, 9, 3), ["--layout", "NHWC"], (5, 3, 3, 9)),
        ((5, 13, 9, 8), ["--layout", "NCHW"], (5, 13, 9, 8)),
    ],
)
def test_layouts(folder, shape, options, out_shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.float32)
    np.save("in.npy", array)
    assert run("in.npy", "out.npy", "--verify", *options) == 0
    out = np.load("out.npy")
    assert out.shape == out_shape
    wanted = array.transpose(0, 3, 1, 2) if options == ["--layout", "NHWC"] else array.reshape(out_shape)
    np.testing.assert_array_equal(out, wanted)


def test_nan_and_negative_zero_are_compared_as_bytes(folder):
    array = np.zeros((4, 5, 5), np.float32)
    array[1, 2], array[3, 4] = np.nan, -0.0
    np.save("in.npy", array)
    assert run("in.npy", "out.npy", "--verify", "full") == 0
    assert np.load("out.npy").tobytes() == array.tobytes()


def test_other_inputs(folder):
    array = coordinates().astype(np.uint8)
    np.savez_compressed("in.npz", x_train=array, y_train=np.arange(23))
    assert run("in.npz", "out.npy", "--verify", "full") == 0
    np.testing.assert_array_equal(np.load("out.npy"), array.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(np.load("out_labels.npy"), np.arange(23))


# --- labels and config ------------------------------------------------------------------------


def test_labels_and_config(folder, capsys):
    options = ["--labels", "labels.npy", "--output-labels", "sub.npy", "--verify"]
    assert run("in.npy", "deep/er/out.npy", *options) == 0
    assert "23 of 23 images compared, all equal" in capsys.readouterr().out
    labels = np.load("sub.npy")
    assert labels.dtype == np.int64
    assert labels.tolist() == [i % 3 for i in range(23)]
    config = json.loads(Path("deep/er/config_pytorch.json").read_text())
    assert config["images"] == "out.npy"
    assert config["labels"] == "../../sub.npy"
    assert config["shape"] == [23, 3, 9, 8]
    assert config["dtype"] == "uint8"
    assert config["layout"] == "NCHW"
    assert config["class_to_idx"] == {"class 0": 0, "class 1": 1, "class 2": 2}
    assert config["num_classes"] == 3
    assert set(config["loader"]) == {"batch_size", "num_workers", "shuffle", "pin_memory"}
    assert sorted(os.listdir("deep/er")) == ["config_pytorch.json", "out.npy"]


def test_the_same_command_again_changes_nothing(folder):
    assert run("in.npy", "out.npy", "--labels", "labels.npy") == 0
    before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
    assert run("in.npy", "out.npy", "--labels", "labels.npy", "--verify") == 0
    assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before


def test_another_conversion_needs_overwrite(folder, capsys):
    assert run("in.npy", "out.npy") == 0
    np.save("in.npy", coordinates().astype(np.uint8) + 1)
    assert run("in.npy", "out.npy") == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert np.load("out.npy")[0, 0, 0, 0] == 0
    assert run("in.npy", "out.npy", "--overwrite") == 0
    assert np.load("out.npy")[0, 0, 0, 0] == 1


def test_verify_finds_one_wrong_pixel(folder, capsys):
    assert run("in.npy", "out.npy") == 0
    out = np.load("out.npy", mmap_mode="r+")
    out[17, 2, 3, 4] ^= 1
    out.flush()
    assert run("in.npy", "out.npy", "--verify", "full") == 1
    assert "image 17, channel 2: " in capsys.readouterr().err


# --- wrong input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: np.save("in.npy", np.array([{}]), allow_pickle=True), [], "Python objects"),
        (lambda: os.truncate("in.npy", 2000), [], "make or copy it again"),
        (lambda: np.save("labels.npy", [1, 2]), ["--labels", "labels.npy"], "23 samples, labels has 2"),
        (lambda: np.save("labels.npy", np.full(23, 0.5)), ["--labels", "labels.npy"], r"label 0 is 0\.5"),
        (lambda: np.save("in.npy", np.zeros((4, 3, 9, 3))), [], "layout='NHWC'"),
        (lambda: np.save("in.npy", np.zeros((4, 4))), [], "images have the shape"),
        (lambda: np.save("in.npy", np.zeros((0, 4, 4))), [], "holds no images"),
        (lambda: None, ["--layout", "HWCN"], "choose one of 'NHW'"),
        (lambda: None, ["--layout", "NHW"], "not layout='NHW'"),
        (lambda: None, ["--member", "x"], "leave member='x' out"),
        (lambda: None, ["--labels", "nothing.npy"], "No such file"),
        (lambda: None, ["--labels", "labels.npy", "--output-labels", "labels.npy"], "must be different files"),
        (lambda: None, ["--config", "in.npy"], "must be different files"),
        (lambda: np.save("out_labels.npy", [1]), ["--labels", "labels.npy"], "holds other labels"),
        (lambda: Path("out.npy").touch(), [], "pass --overwrite"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(folder, capsys, make, options, message):
    make()
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert run("in.npy", "out.npy", *options) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    with pytest.raises(ValueError, match=message):
        raise ValueError(error)
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize("size", ["0", "-1", "1.5", "many"])
def test_chunk_sizes_that_are_none(folder, capsys, size):
    """FAULTS 38."""
    with pytest.raises(SystemExit) as caught:
        run("in.npy", "out.npy", "--chunk-size", size)
    assert caught.value.code == 2
    assert "chunk-size" in capsys.readouterr().err
    assert not Path("out.npy").exists()


def test_a_chunk_that_does_not_fit_is_refused_with_the_numbers():
    with pytest.raises(ConfigError) as caught:
        check_memory(500, 65_536, 2, free=10_000_000)
    assert "65,536,000 bytes (2 x 500 x 65,536), 10,000,000 are free: pass --chunk-size 38" in str(caught.value)
    check_memory(38, 65_536, 2, free=10_000_000)
    with pytest.raises(ConfigError, match="make memory free"):
        check_memory(1, 65_536, 2, free=1000)
    check_memory(500, 65_536, 2)


def test_memory_limits_are_seen(tmp_path):
    """A limit on the address space counts, not only what the machine has."""
    free = available_memory()
    assert free is not None
    np.save(tmp_path / "in.npy", np.zeros((4, 64, 64), np.uint8))
    code = (
        "import resource, sys\n"
        f"sys.path[:0] = {[str(ROOT), str(FOLDER)]!r}\n"
        "from single_file import available_memory\n"
        "before = available_memory()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**36, 2**36))\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "assert available_memory() <= min(before * 2, 2**36 - used + 2**20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, 2**36))\n"
        "assert available_memory() <= 2**24\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- whole or not at all ----------------------------------------------------------------------


def target(folder, **changes):
    options = {"path": folder / "out.npy", "shape": (10, 4), "dtype": "<i4", "chunk_size": 3, "origin": {"a": 1}}
    return SingleFile(**(options | changes))


class KilledError(Exception):
    pass


def filler(log, stop_at=None):
    def fill(start, out):
        if stop_at is not None and start >= stop_at:
            raise KilledError
        log.append(start)
        out[...] = np.arange(start * 4, (start + len(out)) * 4).reshape(-1, 4)

    return fill


def test_a_run_that_was_stopped_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(KilledError):
        write_single_file(target(tmp_path), filler([], stop_at=6))
    assert not (tmp_path / "out.npy").exists()
    log, done = [], []
    write_single_file(target(tmp_path), filler(log), progress=done.append)
    assert log == [6, 9]
    assert sum(done) == 10
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.arange(40).reshape(10, 4))
    again = []
    write_single_file(target(tmp_path), filler(again))
    assert again == []
    target(tmp_path).forget()
    assert os.listdir(tmp_path) == ["out.npy"]


@pytest.mark.parametrize("damage", ["data", "journal", "cut data", "cut journal", "no journal", "no data"])
def test_what_was_lost_in_a_crash_is_written_again(tmp_path, damage):
    """After a power cut the journal may say more than the disk holds."""
    goal = target(tmp_path)
    with pytest.raises(KilledError):
        write_single_file(goal, filler([], stop_at=9))
    data, journal = goal.beside("part"), goal.beside("journal")
    if damage == "data":
        content = bytearray(data.read_bytes())
        content[len(goal.header) + 3 * 16] ^= 1
        data.write_bytes(content)
    elif damage == "journal":
        journal.write_text("rubbish\n" + journal.read_text())
    elif damage == "cut data":
        os.truncate(data, len(goal.header) + 20)
    elif damage == "cut journal":
        os.truncate(journal, 30)
    else:
        (journal if damage == "no journal" else data).unlink()
    log = []
    stored = write_single_file(goal, filler(log))
    assert log[0] == {"data": 3, "cut journal": 3}.get(damage, 0)
    np.testing.assert_array_equal(np.load(goal.path), np.arange(40).reshape(10, 4))
    other = write_single_file(target(tmp_path, path=tmp_path / "b.npy"), filler([]))
    assert (stored.xxh3, stored.size) == (other.xxh3, other.size)


@pytest.mark.parametrize(
    "changes", [{"origin": {"a": 2}}, {"chunk_size": 4}, {"dtype": "<u4"}, {"shape": (11, 4)}], ids=str
)
def test_another_plan_is_an_error_that_names_the_difference(tmp_path, changes):
    """FAULTS 60 and following: nothing is mixed."""
    with pytest.raises(KilledError):
        write_single_file(target(tmp_path), filler([], stop_at=6))
    name = next(iter(changes))
    with pytest.raises(PlanMismatchError, match=f"{name}.* is .* now and was"):
        write_single_file(target(tmp_path, **changes), filler([]))
    target(tmp_path).beside("plan").write_text("{")
    with pytest.raises(PlanMismatchError, match="is damaged"):
        write_single_file(target(tmp_path), filler([]))


def test_a_second_writer_is_kept_out(tmp_path):
    lock = take_lock(target(tmp_path).beside("lock"))
    with pytest.raises(LockedError, match="is held"):
        write_single_file(target(tmp_path), filler([]))
    lock.close()
    assert not target(tmp_path).beside("part").exists()


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "out.npy").write_bytes(b"old")
    with pytest.raises(OutputExistsError):
        write_single_file(target(tmp_path), filler([]))
    with pytest.raises(KilledError):
        write_single_file(target(tmp_path), filler([], stop_at=6), overwrite=True)
    assert (tmp_path / "out.npy").read_bytes() == b"old"
    write_single_file(target(tmp_path), filler([]), overwrite=True)
    assert np.load(tmp_path / "out.npy").shape == (10, 4)


def test_kill_9_and_again(tmp_path):
    """Killed at several moments, the result is the same file."""
    rng = np.random.default_rng(0)
    array = rng.integers(0, 255, (3000, 64, 64, 3), np.uint8)
    np.save(tmp_path / "in.npy", array)
    command = [sys.executable, FOLDER / "convert_tf_to_pytorch.py", tmp_path / "in.npy", tmp_path / "out.npy"]
    command += ["--chunk-size", "20"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    part = tmp_path / ".out.npy.journal"
    for lines in (3, 60):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not part.exists() or part.stat().st_size < 17 * lines):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if part.exists():
            assert not (tmp_path / "config_pytorch.json").exists()
    subprocess.run([*command, "--verify", "full"], env=environment, check=True, stderr=subprocess.DEVNULL)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), array.transpose(0, 3, 1, 2))
    assert sorted(os.listdir(tmp_path)) == ["config_pytorch.json", "in.npy", "out.npy"]


def test_two_gigabytes_in_less_than_100_megabytes(tmp_path):
    """A sparse file of 30,518 x 256 x 256; what counts is memory above that of the imports."""
    shape = (30_518, 256, 256)
    free = os.statvfs(tmp_path)
    if free.f_bavail * free.f_frsize < 5 * 2**30:
        pytest.skip("needs 5 GiB of disk")
    source = np.lib.format.open_memmap(tmp_path / "in.npy", mode="w+", dtype=np.uint8, shape=shape)
    places = range(0, shape[0], 997)
    for place in places:
        source[place] = np.arange(256)[:, None] ^ (np.arange(256)[None] + place)
    del source
    np.save(tmp_path / "labels.npy", np.array([f"class {i % 37:02d}" for i in range(shape[0])]))
    code = (
        "import importlib.util, sys, torch\n"
        f"sys.path.insert(0, {str(FOLDER)!r})\n"
        f"spec = importlib.util.spec_from_file_location('script', {str(FOLDER / 'convert_tf_to_pytorch.py')!r})\n"
        "script = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(script)\n"
        "def peak():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))\n"
        "before = peak()\n"
        "assert script.main(sys.argv[1:]) == 0\n"
        "print((peak() - before) // 1024)\n"
    )
    out = tmp_path / "out.npy"
    options = ["--chunk-size", "500", "--verify", "full", "--labels", tmp_path / "labels.npy"]
    command = [sys.executable, "-c", code, tmp_path / "in.npy", out, *options]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert int(done.stdout.split()[-1]) < 100
    written = np.load(out, mmap_mode="r")
    assert written.shape == (30_518, 1, 256, 256)
    for place in places:
        wanted = (np.arange(256)[:, None] ^ (np.arange(256)[None] + place)).astype(np.uint8)
        np.testing.assert_array_equal(written[place, 0], wanted)
    assert np.load(tmp_path / "out_labels.npy")[38] == 1
    del written
    for path in (tmp_path / "in.npy", out):  # pytest keeps the folders of several runs
        path.unlink()


# --- the check ----------------------------------------------------------------------------------


@pytest.fixture
def converted(folder):
    assert run("in.npy", "out.npy", "--labels", "labels.npy") == 0
    return folder


def edit(**changes):
    path = Path("config_pytorch.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_good_conversion_is_ready_to_train(converted, capsys):
    assert verify.main(["config_pytorch.json"]) == 0
    report = capsys.readouterr().out
    assert report.endswith("ready to train\n")
    assert report.count("  ok    ") == 5
    assert "(N, C, H, W) = (23, 3, 9, 8), uint8" in report
    assert "0 to 2, 3 of 3 classes occur" in report


def test_it_can_be_trained_on(converted):
    data = verify.ArrayDataset("config_pytorch.json")
    loader = torch.utils.data.DataLoader(data, batch_size=5, num_workers=2)
    images = torch.cat([batch for batch, _ in loader])
    labels = torch.cat([batch for _, batch in loader])
    np.testing.assert_array_equal(images.numpy(), np.load("out.npy"))
    assert labels.tolist() == [i % 3 for i in range(23)]


def test_without_labels_it_is_ready_too(folder):
    assert run("in.npy", "out.npy") == 0
    assert verify.main(["config_pytorch.json"]) == 0


def test_the_folder_can_be_moved(converted, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "moved"
    converted.rename(other)
    assert verify.main([str(other / "config_pytorch.json")]) == 0


def broken(change):
    return lambda: np.save("out.npy", change(np.load("out.npy")))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: np.save("out_labels.npy", np.full(23, 3)), "FAIL  labels .*labels run from 3 to 3"),
        (lambda: np.save("out_labels.npy", np.arange(23) % 3 - 1), "FAIL  labels .*labels run from -1"),
        (lambda: np.save("out_labels.npy", np.zeros(22, int)), "FAIL  labels .*22 labels for 23 images"),
        (broken(lambda a: a.transpose(0, 2, 3, 1)), r"FAIL  format .*shape is \(23, 9, 8, 3\)"),
        (broken(lambda a: a.astype(np.int16)), "FAIL  format .*dtype is int16"),
        (broken(lambda a: a[:, 0]), r"FAIL  format .*not \(N, C, H, W\)"),
        (broken(lambda a: a * 0), "FAIL  values .*all values of 23 images are 0"),
        (lambda: edit(shape=[23, 9, 8, 3]), "FAIL  format .*the config says"),
        (lambda: os.truncate("out.npy", 1000), "FAIL  open .*make or copy it again"),
        (lambda: Path("out.npy").unlink(), "FAIL  open .*No such file"),
        (lambda: Path("config_pytorch.json").write_text("{}"), "FAIL  open .*is no config_pytorch.json"),
        (lambda: Path("config_pytorch.json").write_text("["), "FAIL  open .*is no config_pytorch.json"),
        (lambda: Path("config_pytorch.json").write_bytes(b"\x93NUMPY"), "FAIL  open .*is no config_pytorch.json"),
        (lambda: Path("config_pytorch.json").unlink(), "FAIL  open .*No such file"),
    ],
)
def test_what_is_wrong_is_told_and_the_exit_code_says_so(converted, capsys, spoil, message):
    spoil()
    assert verify.main(["config_pytorch.json"]) == 1
    with pytest.raises(ValueError, match=message):
        raise ValueError(capsys.readouterr().out)


def test_channels_that_look_last_and_values_that_are_not_finite(folder, capsys):
    array = coordinates().astype(np.float32)
    array[4, 4, 4, 1] = np.inf
    np.save("in.npy", array)
    assert run("in.npy", "out.npy") == 0
    assert verify.main(["config_pytorch.json"]) == 1
    report = capsys.readouterr().out
    assert "FAIL  values    there are values that are not finite" in report
    assert "FAIL  training" in report
    np.save("in.npy", coordinates().astype(np.uint8))
    assert run("in.npy", "out.npy", "--layout", "NCHW", "--overwrite") == 0
    assert verify.main(["config_pytorch.json"]) == 1
    assert "look like N, H, W, C" in capsys.readouterr().out


def test_memory_that_reading_takes_is_measured(converted, monkeypatch, capsys):
    monkeypatch.setattr(verify, "MEMORY_LIMIT", -(2**30))
    assert verify.main(["config_pytorch.json"]) == 1
    assert "FAIL  memory    reading took" in capsys.readouterr().out


def test_two_arrays_in_one_folder_keep_their_configurations(folder, capsys):
    for name in ("train", "test"):
        assert run("in.npy", f"{name}.npy", "--labels", "labels.npy") == 0
    assert json.loads(Path("config_pytorch.json").read_text())["images"] == "train.npy"
    assert json.loads(Path("test_config_pytorch.json").read_text())["images"] == "test.npy"
    assert "config test_config_pytorch.json" in capsys.readouterr().out
    for name in ("train", "test"):  # both are finished, and found again
        assert run("in.npy", f"{name}.npy", "--labels", "labels.npy") == 0
    for config in ("config_pytorch.json", "test_config_pytorch.json"):
        assert verify.main([config]) == 0


def test_the_models_of_a_project_are_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.random.default_rng(0).integers(0, 256, (8, 32, 32), np.uint8))
    np.save("labels.npy", np.array(["Artefact", "Pulse"] * 4))
    assert run("in.npy", "out.npy", "--labels", "labels.npy") == 0
    name = "DM_time_binary_classificator_241002_3"
    assert verify.main(["config_pytorch.json", "--model", name, "--model", f"{name}_GAP"]) == 0
    assert f"{name}: batch (4, 1, 32, 32) -> (4, 2), 13,914 parameters" in capsys.readouterr().out
    assert verify.main(["config_pytorch.json", "--model", "other"]) == 1
    assert "'other' is not known" in capsys.readouterr().out
