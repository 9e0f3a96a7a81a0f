"""How long an idle queue is left alone: randomised and doubling, as the real host's listener waits."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Source: the storage extension's QueuePollingIntervals.Minimum and RandomizedExponentialBackoffStrategy.
SHORTEST_SECONDS = 0.1
_SPREAD = 0.2


class Backoff:
    """Delays from 100 ms on, doubling with a spread of a fifth either way, up to the longest."""

    def __init__(self, longest_seconds: float, spread: Callable[[float, float], float] = random.uniform) -> None:
        self._longest = max(longest_seconds, SHORTEST_SECONDS)
        self._spread = spread
        self._steps = 0

    def reset(self) -> None:
        """Begin again, after a message was found."""
        self._steps = 0

    def next_seconds(self) -> float:
        """Give the next delay."""
        growth = 0.0
        if self._steps:
            # Past this many doublings every delay is the longest; the bound keeps the power finite on an idle queue.
            doublings = min(self._steps - 1, 32)
            growth = self._spread(1 - _SPREAD, 1 + _SPREAD) * 2.0**doublings * SHORTEST_SECONDS
        self._steps += 1
        return min(SHORTEST_SECONDS + growth, self._longest)
