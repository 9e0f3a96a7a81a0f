"""What the machine is, as far as a reader of the figures needs to know. No path and no name of it."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def describe() -> dict[str, str]:
    """Return cores, memory, CPU model, system and Python version."""
    return {
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "CPU": cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }


def cpu_model() -> str:
    """Return the CPU's name as Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def resident_kilobytes(pid: int) -> int:
    """Return the resident memory of a process, as ``ps`` has it on Linux and macOS alike."""
    done = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def load() -> str:
    """Return how busy the machine was over the last minute: figures of a busy one are not to be trusted."""
    return f"{os.getloadavg()[0]:.1f}"
