"""A budget of requests per project, so that a busy day of ours leaves most of Atlas's own bucket to other tools."""

from __future__ import annotations

from keysteward.clock import Clock
from keysteward.errors import TryLaterError

CAPACITY = 200
REFILL_PER_SECOND = 2.0


class Budgets:
    """Token buckets by name, in memory of one process. Atlas's own limits are 1,000 a minute and more per project."""

    def __init__(self, clock: Clock, capacity: int = CAPACITY, refill_per_second: float = REFILL_PER_SECOND) -> None:
        self._clock = clock
        self._capacity = capacity
        self._refill = refill_per_second
        self._buckets: dict[str, tuple[float, float]] = {}
        self._paused_until: dict[str, float] = {}

    def pause(self, name: str, seconds: float) -> None:
        """Let nothing of *name* go for *seconds*: the other side asked for it, whoever asks us meanwhile."""
        self._paused_until[name] = max(self._paused_until.get(name, 0.0), self._clock.monotonic() + seconds)

    def spend(self, name: str) -> None:
        """
        Take one request from the budget of *name*.

        Raises:
            TryLaterError: the budget is spent, or the other side asked for a pause; says when to try again.
        """
        now = self._clock.monotonic()
        wait = self._paused_until.get(name, 0.0) - now
        if wait > 0:
            message = "the other side asked for a pause with Retry-After"
            raise TryLaterError("pauseAskedFor", message, wait, nothing_done=True)
        left, at = self._buckets.get(name, (float(self._capacity), now))
        left = min(self._capacity, left + (now - at) * self._refill)
        if left < 1:
            self._buckets[name] = (left, now)
            wait = (1 - left) / self._refill
            raise TryLaterError("budgetSpent", "the app's own budget of requests is spent", wait, nothing_done=True)
        self._buckets[name] = (left - 1, now)
