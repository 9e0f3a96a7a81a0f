"""``results.md``: date, machine, command, latencies, and each figure with its goal and the raw numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from benchmarks.figure import Figure
from simulator.latencies import LatencyTable


def render(
    figures: Sequence[Figure],
    *,
    measured_at: datetime,
    machine: Mapping[str, str],
    load: str,
    seconds: float,
    latencies: LatencyTable,
) -> str:
    """Write the page. *load* is the machine's at the start: what else it did while we measured."""
    parts = [
        "# Results",
        "",
        f"Written by `./dev bench --write` on {measured_at:%d %B %Y, %H:%M} UTC; it took {seconds:.0f} s.",
        "",
        "Each figure is a ratio within one run, so that much of the machine's speed cancels out.",
        "",
        *_table(("figure", "came to", "goal", "met"), [_row(figure) for figure in figures]),
        "",
        "## Machine",
        "",
        *_table(("what", "value"), [*machine.items(), ("load over the minute before", load)]),
        "",
        *_latencies(latencies),
    ]
    for figure in figures:
        parts += ["", *_section(figure)]
    return "\n".join(parts) + "\n"


def summary(figure: Figure) -> str:
    """Say in one line what a figure came to."""
    faults = f" ({'; '.join(figure.faults)})" if figure.faults else ""
    return (
        f"{'met   ' if figure.is_met else 'MISSED'} {figure.name:<9} {figure.ratio:.2f} (goal {figure.goal:g}){faults}"
    )


def _row(figure: Figure) -> tuple[str, str, str, str]:
    return (figure.title, f"{figure.ratio:.2f}", f"<= {figure.goal:g}", _met(figure))


def _met(figure: Figure) -> str:
    return "yes" if figure.is_met else f"no{': ' if figure.faults else ''}{'; '.join(figure.faults)}"


def _section(figure: Figure) -> list[str]:
    lines = [f"## {figure.name}", "", f"{figure.title}: **{figure.ratio:.2f}** (goal {figure.goal:g})", ""]
    lines += [f"- Fault: {fault}" for fault in figure.faults]
    lines += _table(("raw", "value"), list(figure.raw.items()))
    return [*lines, "", figure.method.strip()]


def _latencies(table: LatencyTable) -> list[str]:
    rows = [
        (kind, f"{row.low_seconds:g} to {row.high_seconds:g} s", row.source) for kind, row in sorted(table.rows.items())
    ]
    title = f"## Latencies of the simulator: table `{table.name}`, drawn evenly"
    return [title, "", *_table(("kind of call", "from arrival to answer", "source"), rows)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(heads), _line(["---"] * len(heads)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
