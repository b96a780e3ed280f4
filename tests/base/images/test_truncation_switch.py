"""Pillow's process-wide switch that lets it read truncated files: never obeyed, never left changed."""

import os
import threading
import warnings

import pytest
from PIL import ImageFile

from shardwright.base.errors import InputError
from shardwright.base.images import decode, decode_pil, probe
from tests.base.images.pictures import SOURCES


@pytest.mark.parametrize("name", ["jpg", "jpg cmyk", "png", "gif", "tif", "bmp", "ppm", "jp2"])
def test_truncation_is_refused_whatever_the_switch_of_pillow_says(name, monkeypatch):
    """Fault 3."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = SOURCES[name][0]
    cut = data[: len(data) * 3 // 4]
    for function in (probe, decode, decode_pil):
        with pytest.raises(InputError):
            function(cut)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_threads_leave_the_switch_of_pillow_as_it_was(monkeypatch):
    """Fault 3."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole, cut = SOURCES["bmp"][0], SOURCES["bmp"][0][:-10]
    refused = []

    def work():
        for _ in range(50):
            decode(whole)
            try:
                decode(cut)
            except InputError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 200
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_fork_while_another_thread_opens_an_image_does_not_block_the_child():
    from shardwright.base.images.pillow import _strict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        with _strict._lock:
            child = os.fork()
            if child == 0:
                os._exit(0 if probe(SOURCES["bmp"][0]).mode == "RGB" else 1)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        threading.Event().wait(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0
