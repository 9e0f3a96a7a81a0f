"""A figure: a ratio, its goal, the raw numbers behind it and how they were got."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. ``goal`` is the most that ``ratio`` may be; ``faults`` are promises that did not hold."""

    name: str
    title: str
    ratio: float
    goal: float
    raw: Mapping[str, str]
    method: str
    faults: Sequence[str] = ()

    @property
    def is_met(self) -> bool:
        return self.ratio <= self.goal and not self.faults


def ratio(measured: float, floor: float) -> float:
    """
    Divide what was measured by its floor.

    Raises:
        ValueError: a floor of zero or less, or a negative measurement: something was not measured at all.
    """
    if floor <= 0 or measured < 0:
        raise ValueError(f"{measured} over {floor} is no ratio of measurements")
    return measured / floor


def spread(values: Sequence[float], unit: str, digits: int = 1) -> str:
    """Say median, smallest and largest of some values."""
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"median {middle} {unit}".rstrip() + f" ({low} to {high}, n = {len(values)})"
