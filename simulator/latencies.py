"""How long the real services take, as committed figures. The only place where a duration of an answer stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the last byte of the request to the first of the answer, drawn evenly from the range."""

    low_seconds: float
    high_seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Latency by kind of call (``Route.latency``). A kind that the table lacks takes no time."""

    name: str
    rows: Mapping[str, Latency]

    def draw(self, kind: str, random: Random) -> float:
        """Return the seconds of one call. Draws only where the table has a row, so ``NONE`` costs nothing."""
        row = self.rows.get(kind)
        return random.uniform(row.low_seconds, row.high_seconds) if row else 0.0


NONE = LatencyTable("none", {})

_CI = "CI logs of the vendor's Terraform provider against the real API (4-11 s; 21 s at a failure)"
_CHOSEN = "chosen, typical of a public API over the internet; unverified"

REALISTIC = LatencyTable(
    "realistic",
    {
        "atlas.patch": Latency(4.0, 11.0, _CI),
        "atlas.get": Latency(0.15, 0.40, _CHOSEN),
        "atlas.token": Latency(0.15, 0.25, _CHOSEN),
        "vault.get": Latency(0.03, 0.08, _CHOSEN),
        "vault.write": Latency(0.08, 0.20, _CHOSEN),
        "manager.get": Latency(0.10, 0.40, _CHOSEN),
        "manager.write": Latency(0.40, 1.50, _CHOSEN),
        "sink": Latency(0.05, 0.30, _CHOSEN),
        "identity": Latency(0.02, 0.06, _CHOSEN),
    },
)

TABLES: Mapping[str, LatencyTable] = {table.name: table for table in (NONE, REALISTIC)}
