"""Raw arrays as samples, and a limit for what could hang."""

import threading

import numpy as np

COUNT = 20


def samples(name="image", channels=(3,)):
    rng = np.random.default_rng(0)
    return [{name: rng.integers(0, 256, (12, 10, *channels), np.uint8), "label": n} for n in range(COUNT)]


def within(seconds, function):
    """What a function returns; a function that hangs fails instead of blocking all tests."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found
    return found[0]
