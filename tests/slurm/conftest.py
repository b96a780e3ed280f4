"""One cluster for all tests of this folder, and the example's environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.tools import encoded, picture
from tests.slurm.cluster import Cluster, running_cluster, why_not


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two SLURM nodes on this host; skips, with the reason, where SLURM is not installed."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images in 4 classes, each class of a colour of its own."""
    root = tmp_path_factory.mktemp("slurm") / "photos"
    for number in range(48):
        image = picture(number, size=(40, 40)).point(lambda v, n=number: v // 4 + 48 * (n % 4))
        path = root / f"class-{number % 4}" / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image, "JPEG"))
    return root
