"""
One clock for the whole simulated cloud. Nothing in ``simulator/`` asks the machine for the time but this.

A frozen clock moves only when told. A flowing one follows the machine's time plus an offset that grows
when told, so that a person (or a test in the host) can skip ninety days.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_START = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)


class SimulatedClock:
    """Time that only goes forward. ``SimulatedClock()`` is frozen, ``SimulatedClock.flowing()`` follows the machine."""

    def __init__(self, start: datetime = DEFAULT_START) -> None:
        if start.tzinfo is None:
            raise ValueError(f"the clock needs an aware start, got {start!r}")
        self._base = start.astimezone(UTC)
        self._flows_from: float | None = None
        self._skipped = timedelta()
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    def flowing(cls, start: datetime | None = None) -> SimulatedClock:
        """Return a clock that follows the machine from *start* (its own time of day by default)."""
        clock = cls(start or datetime.now(UTC))
        clock._flows_from = time.monotonic()
        return clock

    @property
    def flows(self) -> bool:
        return self._flows_from is not None

    def now(self) -> datetime:
        """Aware, UTC."""
        return self.shared_now() + self._skipped if self._flows_from is not None else self._base

    def shared_now(self) -> datetime:
        """
        Return the time that the caller's own clock also shows: a flowing clock without what was skipped.

        Tokens and rate limits live by this. The app's clock does not skip with ours, so a token that it may
        rightly think good for hours must not die of a skip.
        """
        if self._flows_from is None:
            return self._base
        return self._base + timedelta(seconds=time.monotonic() - self._flows_from)

    def advance(self, seconds: float) -> None:
        """Skip forward by *seconds* (zero or more)."""
        if seconds < 0:
            raise ValueError(f"time only goes forward, got {seconds} seconds")
        if self._flows_from is None:
            self._base += timedelta(seconds=seconds)
        else:
            self._skipped += timedelta(seconds=seconds)
        for listener in self._listeners:
            listener()

    def advance_to(self, moment: datetime) -> None:
        """Skip forward to *moment*; a moment that has passed is an error."""
        self.advance((moment - self.now()).total_seconds())

    def on_skip(self, listener: Callable[[], None]) -> None:
        """Call *listener* after each skip (whoever waits for a due time looks again)."""
        self._listeners.append(listener)
