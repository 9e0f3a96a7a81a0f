"""``python -m benchmarks``: measure every figure, or one, and say what each came to."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import address, cold, firewall_plan, machine, memory, report, steady, storm, sync_requests, warm
from benchmarks.figure import Figure
from simulator.latencies import REALISTIC

RESULTS = Path(__file__).resolve().parent / "results.md"
FIGURES: Mapping[str, Callable[[], Awaitable[Figure]]] = {
    "warm": warm.measure,
    "requests": steady.measure,
    "storm": storm.measure,
    "cold": cold.measure,
    "memory": memory.measure,
    "plan": firewall_plan.measure,
    "sync": sync_requests.measure,
    "address": address.measure,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure. Exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(FIGURES), metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--write", action="store_true", help="write benchmarks/results.md (all figures)")
    options = parser.parse_args(arguments)
    if options.write and options.only:
        parser.error("--write takes all figures: leave --only out")
    load, begun = machine.load(), time.monotonic()
    figures = asyncio.run(_measure(options.only or list(FIGURES)))
    if options.write:
        page = report.render(
            figures,
            measured_at=datetime.now(UTC),
            machine=machine.describe(),
            load=load,
            seconds=time.monotonic() - begun,
            latencies=REALISTIC,
        )
        RESULTS.write_text(page, "utf-8")
        print(f"written: {RESULTS.name}")
    return 0 if all(figure.is_met for figure in figures) else 1


async def _measure(names: Sequence[str]) -> list[Figure]:
    figures: list[Figure] = []
    for name in names:
        begun = time.monotonic()
        figure = await FIGURES[name]()
        figures.append(figure)
        print(f"{report.summary(figure)}, {time.monotonic() - begun:.0f} s", flush=True)
        for what, value in figure.raw.items():
            print(f"         {what}: {value}", flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main())
