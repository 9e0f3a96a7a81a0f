"""
Faults on order, and a seeded background rate of them.

An ordered fault waits for the nth request that it matches and then strikes ``times`` matching requests in a
row. Background faults are the passing kind: a client that tries again gets through.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


class FaultKind(StrEnum):
    """What goes wrong. BEFORE and AFTER say whether the request still takes effect."""

    ANSWER = "answer"
    """An error answer in the service's own form (``status``, ``code``, ``retry_after``); no effect."""
    DELAY = "delay"
    """The right answer, ``latency_seconds`` later."""
    DROP_BEFORE = "dropBefore"
    """The connection ends without an answer; no effect."""
    DROP_AFTER = "dropAfter"
    """The effect happens, the answer is lost."""
    HTML = "html"
    """A gateway's 502 page instead of JSON; no effect."""
    TRUNCATE = "truncate"
    """The effect happens, the answer's body ends half-way."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One ordered fault. ``host`` and ``route`` are patterns (``*``, ``?``); a template's end will do as route."""

    kind: FaultKind = FaultKind.ANSWER
    host: str = "*"
    method: str = "*"
    route: str = "*"
    nth: int = 1
    times: int = 1
    status: int = 503
    code: str = ""
    retry_after: int | None = None
    latency_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.nth < 1 or self.times < 1:
            raise ValueError(f"nth and times count from 1, got nth={self.nth} times={self.times}")

    def matches(self, host: str, method: str, route: str) -> bool:
        """Say whether a request to *route* (its template) is this fault's business."""
        return (
            (self.method in {"*", method})
            and fnmatchcase(host, self.host)
            and (self.route == "*" or fnmatchcase(route, self.route) or route.endswith(self.route))
        )

    @property
    def name(self) -> str:
        """How the record names it, for example ``answer 429 RATE_LIMITED``."""
        return f"{self.kind} {self.status} {self.code}".rstrip() if self.kind is FaultKind.ANSWER else str(self.kind)


@dataclass(slots=True)
class _Ordered:
    fault: Fault
    to_skip: int
    left: int


class Faults:
    """The faults of one cloud. ``background_rate`` is the share of requests (0 to 1) that meet a passing fault."""

    def __init__(self, random: Random) -> None:
        self.background_rate = 0.0
        self._ordered: list[_Ordered] = []
        self._random = random

    def order(self, fault: Fault) -> None:
        """Add a fault; faults ordered first strike first."""
        self._ordered.append(_Ordered(fault, fault.nth - 1, fault.times))

    def clear(self) -> None:
        """Forget every ordered fault and stop the background."""
        self._ordered.clear()
        self.background_rate = 0.0

    @property
    def waiting(self) -> list[Fault]:
        """The ordered faults that have not struck as often as they shall."""
        return [ordered.fault for ordered in self._ordered]

    def pick(self, host: str, method: str, route: str, passing: Sequence[Fault]) -> Fault | None:
        """Return the fault that strikes this request, drawing from *passing* for the background rate."""
        fault = self._pick_ordered(host, method, route) if self._ordered else None
        if fault is None and self.background_rate > 0 and self._random.random() < self.background_rate:
            fault = self._random.choice(passing)
        return fault

    def _pick_ordered(self, host: str, method: str, route: str) -> Fault | None:
        struck = None
        for ordered in self._ordered:
            if not ordered.fault.matches(host, method, route):
                continue
            if ordered.to_skip:
                ordered.to_skip -= 1
            elif struck is None:
                ordered.left -= 1
                struck = ordered.fault
        self._ordered = [ordered for ordered in self._ordered if ordered.left]
        return struck


PASSING_EVERYWHERE = (
    Fault(FaultKind.DROP_BEFORE),
    Fault(FaultKind.DROP_AFTER),
    Fault(FaultKind.HTML),
    Fault(FaultKind.TRUNCATE),
    Fault(FaultKind.DELAY, latency_seconds=5.0),
)
"""Passing faults that any service behind a network may show."""
