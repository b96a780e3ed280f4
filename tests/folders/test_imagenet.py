"""ImageNet's validation archive gets its classes from the development kit."""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from shardwright.base.errors import ConfigError, InputError
from shardwright.folders.imagenet import validation_classes
from shardwright.tar.imagenet import imagenet_validation
from tests.conformance.tools import encoded, picture

TRUTH = (2, 1, 2, 3)
WNIDS = {1: "n03", 2: "n01", 3: "n02", 4: "n00"}  # 4 is an inner node: no class


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def class_table() -> bytes:
    """A meta.mat with the fields that ImageNet's has."""
    savemat = pytest.importorskip("scipy.io", reason="scipy is not installed").savemat
    kinds = [("ILSVRC2012_ID", float), ("WNID", object), ("words", object), ("gloss", object), ("num_children", float)]
    rows = [(n, wnid, "a word", "a gloss", 0 if n < 4 else 3) for n, wnid in WNIDS.items()]
    file = io.BytesIO()
    savemat(file, {"synsets": np.array(rows, kinds).reshape(-1, 1)})
    return file.getvalue()


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    path = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        add(archive, "ILSVRC2012_devkit_t12/data/meta.mat", class_table())
        truth = "".join(f"{n}\n" for n in TRUTH).encode()
        add(archive, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth)
    return path


def validation_archive(folder: Path, count: int = len(TRUTH)) -> Path:
    path = folder / f"val-{count}.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(1, count + 1):
            add(archive, f"ILSVRC2012_val_{number:08d}.JPEG", encoded(picture(number), "JPEG"))
    return path


def test_images_get_the_classes_of_the_training_set(tmp_path: Path, devkit: Path) -> None:
    source = imagenet_validation(validation_archive(tmp_path), devkit)
    assert source.fields["label"].names == ("n01", "n02", "n03")
    assert [(source.name(i)[-6], source[i]["label"]) for i in range(4)] == [("1", 0), ("3", 0), ("4", 1), ("2", 2)]
    assert source[3]["image"].data == encoded(picture(2), "JPEG")


def test_the_unpacked_kit_says_the_same(tmp_path: Path, devkit: Path) -> None:
    with tarfile.open(devkit) as archive:
        archive.extractall(tmp_path / "kit", filter="data")
    assert validation_classes(tmp_path / "kit") == validation_classes(devkit)


def test_another_number_of_images_is_an_error(tmp_path: Path, devkit: Path) -> None:
    with pytest.raises(InputError, match=r"3 images.*tells of 4"):
        imagenet_validation(validation_archive(tmp_path, 3), devkit)
    with pytest.raises(InputError, match="no class for ILSVRC2012_val_00000005"):
        imagenet_validation(validation_archive(tmp_path, 5), devkit)


def test_what_is_no_kit_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no meta\.mat and no ILSVRC2012_validation"):
        validation_classes(validation_archive(tmp_path))
    (tmp_path / "x.tar.gz").write_bytes(b"no tar")
    with pytest.raises(InputError, match=r"x\.tar\.gz is not ImageNet's development kit"):
        validation_classes(tmp_path / "x.tar.gz")
    with pytest.raises(InputError, match="nowhere cannot be read"):
        validation_classes(tmp_path / "nowhere")
    (tmp_path / "meta.mat").write_bytes(b"no table" * 100)
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n")
    with pytest.raises(InputError, match="not the class table"):
        validation_classes(tmp_path)
    (tmp_path / "meta.mat").write_bytes(class_table())
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n4\n")
    with pytest.raises(InputError, match="line 2: class '4'"):
        validation_classes(tmp_path)


def test_without_scipy_the_error_says_what_to_install(devkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ConfigError, match=r"shardwright\[imagenet\]"):
        validation_classes(devkit)
