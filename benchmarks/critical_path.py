"""The longest chain of calls that depend on each other. Pure: durations and dependencies in, the chain out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter


@dataclass(frozen=True, slots=True)
class Chain:
    """Calls in order, each beginning only after the one before, and their seconds together."""

    calls: tuple[str, ...]
    seconds: float


def longest_chain(seconds: Mapping[str, float], after: Mapping[str, Sequence[str]], end: str) -> Chain:
    """
    Find the longest chain that ends with the call *end* (whose own duration counts, if it has one).

    Args:
        seconds: how long each call took. A call that was not made is left out; what waits for it then waits for
            what it would have waited for.
        after: for each call, those that it cannot begin before.
        end: the call at whose end the chain stops.

    Raises:
        ValueError: the dependencies go round in a circle, or *end* is not among them.
    """
    if end not in after:
        raise ValueError(f"{end!r} is not among the calls")
    best: dict[str, Chain] = {}
    for call in TopologicalSorter(after).static_order():
        before = max((best[name] for name in after.get(call, ())), key=_seconds, default=Chain((), 0.0))
        taken = seconds.get(call)
        best[call] = before if taken is None else Chain((*before.calls, call), before.seconds + taken)
    return best[end]


def _seconds(chain: Chain) -> float:
    return chain.seconds
