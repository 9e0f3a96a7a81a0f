"""What happens later, in order of time: the only way in which the simulated world changes by itself."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime

type Action = Callable[[datetime], None]
"""Called with the time at which it was due, which may be long past."""


class Agenda:
    """Actions by due time; of two with the same time, the one added first goes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Action]] = []
        self._added = 0

    @property
    def next_at(self) -> datetime | None:
        return self._heap[0][0] if self._heap else None

    def add(self, at: datetime, action: Action) -> None:
        self._added += 1
        heapq.heappush(self._heap, (at, self._added, action))

    def run(self, now: datetime) -> None:
        """Run what is due by *now*, what the actions themselves add included."""
        while self._heap and self._heap[0][0] <= now:
            at, _, action = heapq.heappop(self._heap)
            action(at)
