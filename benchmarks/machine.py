"""What the report says about the machine and the versions."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["describe"]

PACKAGES = ("shardwright", "torch", "torchvision", "numpy", "pillow", "simplejpeg", "pyarrow", "h5py", "xxhash")


def describe() -> dict[str, Any]:
    """Return processor, cores, memory, system and the versions of what every process uses."""
    return {
        "processor": _after_colon("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _after_colon("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _after_colon(path: str, word: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(word)), "")
