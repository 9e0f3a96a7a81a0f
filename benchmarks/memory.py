"""Memory: what the host process holds after a thousand reconciles, over what it held after the first fifty."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figure import Figure, ratio
from benchmarks.machine import resident_kilobytes
from benchmarks.stack import app_stack
from simulator.latencies import NONE

GOAL = 1.1
PROJECTS = 25
FIRST = 50
ALL = 1000

METHOD = f"""
Resident memory of the host process (host, worker and app together), as `ps` has it. Reconciles are those of the
timer, one fan-out after the other, each waited for; they are counted by the app's own log. Latencies are off.

{PROJECTS} projects, so that neither the app's budget of requests nor Atlas's rate limits slow the runs.
"""


async def measure(reconciles: int = ALL) -> Figure:
    """Reconcile until so many have run, noting memory on the way."""
    samples: list[tuple[int, int]] = []
    async with app_stack(PROJECTS, NONE) as stack:
        while len(stack.runs) < reconciles:
            stack.cloud_calls.clear()
            if len(stack.runs) >= FIRST:
                samples.append((len(stack.runs), resident_kilobytes(stack.host.pid)))
            await stack.reconcile_all()
        samples.append((len(stack.runs), resident_kilobytes(stack.host.pid)))
        other = [run.outcome for run in stack.runs if run.outcome != "nothingToDo"]
    return figure_of(samples, other)


def figure_of(samples: Sequence[tuple[int, int]], other: Sequence[str]) -> Figure:
    """Compare the last sample with the first (reconciles, KiB); *other* are outcomes of runs that were not steady."""
    first, last = samples[0], samples[-1]
    return Figure(
        name="memory",
        title=f"resident memory after {last[0]} reconciles, over after the first {first[0]}",
        ratio=ratio(last[1], first[1]),
        goal=GOAL,
        raw={
            f"after {first[0]}": f"{first[1] / 1024:.1f} MiB",
            "on the way": ", ".join(f"{kb / 1024:.1f}" for _, kb in samples[1:-1:8]) + " MiB",
            f"after {last[0]}": f"{last[1] / 1024:.1f} MiB",
        },
        method=METHOD,
        faults=[f"{len(other)} runs were not steady, e.g. {other[0]}"] if other else [],
    )
